"""Strangers at a real orchestrator's door: silent, babbling, from the future, speaking out of turn, many. The fleet goes on."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from propolis.adapters.wire.iroh import IrohWire
from propolis.decisions.privacy import requirement_for
from propolis.messages import envelope as env
from propolis.messages.jobs import Submit
from propolis.runtime import config
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import PeerUnreachable
from propolis.terms.job import BlobRef, JobSpec, Kind

GONE_WITHIN = 8.0


def double(x):
    return x * 2


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name="n0")]) as fleet:
        yield fleet


@pytest.fixture
def contact(local):
    return config.read(local.home / "owner" / "fleet.json", config.FleetFile).orchestrator


class Stranger:
    """A key of its own, a channel, and the control stream."""

    async def __aenter__(self):
        self.wire = await IrohWire.bind(secrets.token_bytes(32))
        return self

    async def __aexit__(self, *_):
        await self.wire.close()

    async def come(self, contact):
        self.channel = await self.wire.dial(contact)
        self.stream = await self.channel.open_stream()
        await self.stream.write(b"C")

    async def say(self, message=None, *, version=env.VERSION, seen=0, seq=0):
        packet = env.Packet(env.Envelope(version=version, epoch=5, seen=seen, seq=seq, ack=0, message=message))
        await self.stream.write(b"".join(bytes(part) for part in env.pack(packet)))

    async def hung_up_on(self, keep_saying=False):
        """Return whether the channel is closed in time, however politely we go on."""
        started = time.monotonic()
        closed = asyncio.create_task(self.channel.closed())
        while time.monotonic() - started < GONE_WITHIN:
            if closed.done():
                return True
            if keep_saying:
                try:
                    await self.say()
                except PeerUnreachable:
                    return True
            await asyncio.sleep(0.2)
        closed.cancel()
        return False

    def told_off(self, local):
        """What the orchestrator's log says of our words."""
        lines = (local.home / "logs/orchestrator.log").read_text().splitlines()
        return [line for line in lines if f"WARNING {self.wire.identity[:4].hex()}:" in line]


def fleet_works(local):
    with Fleet(local.home) as fleet:
        assert fleet.map(double, range(5), privacy="trusted-lenders") == [0, 2, 4, 6, 8]
        return fleet.jobs()


@pytest.mark.timeout(60)
async def test_a_silent_stranger_is_hung_up_on(local, contact):
    async with Stranger() as stranger:
        await stranger.come(contact)
        assert await stranger.hung_up_on()


@pytest.mark.timeout(60)
async def test_a_stranger_that_only_beats_is_hung_up_on(local, contact):
    async with Stranger() as stranger:
        await stranger.come(contact)
        assert await stranger.hung_up_on(keep_saying=True)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", [b"\xff" * 64, b"\x00\x00\x00\x05hello", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4])
async def test_babble_costs_the_channel(local, contact, words):
    async with Stranger() as stranger:
        await stranger.come(contact)
        await stranger.stream.write(words)
        assert await stranger.hung_up_on()
        assert stranger.told_off(local), "for its words, not at the silent stranger's time"


@pytest.mark.timeout(60)
async def test_another_version_costs_the_channel(local, contact):
    async with Stranger() as stranger:
        await stranger.come(contact)
        await stranger.say(version=99)
        assert await stranger.hung_up_on()
        assert "speaks version 99" in stranger.told_off(local)[0]


@pytest.mark.timeout(60)
async def test_a_stranger_that_submits_before_it_joined_is_not_heard(local, contact):
    spec = JobSpec(
        job=b"s" * 16, name="stolen ride", kind=Kind.FUNCTION, tasks=1, program=BlobRef(blob=bytes(32), size=1),
        requirement=requirement_for("trusted-lenders"),
    )  # fmt: skip
    async with Stranger() as stranger:
        await stranger.come(contact)
        await stranger.say()
        reader, packets = env.FrameReader(), []
        while not packets:
            packets = reader.feed(await asyncio.wait_for(stranger.stream.read(65536), 5))
        await stranger.say(Submit(spec=spec), seen=packets[0].envelope.epoch, seq=1)
        assert await stranger.hung_up_on()
    rows = await asyncio.to_thread(fleet_works, local)
    assert "stolen ride" not in {row.name for row in rows}


def resident(process):
    """Megabytes a process holds."""
    line = next(s for s in Path(f"/proc/{process.pid}/status").read_text().splitlines() if s.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads another process's memory in /proc")
@pytest.mark.timeout(60)
async def test_a_stranger_that_pours_costs_no_memory(local, contact):
    before, body = resident(local.orchestrator), bytes(8 << 20)
    async with Stranger() as stranger:
        await stranger.come(contact)
        await stranger.say()
        reader, packets = env.FrameReader(), []
        while not packets:
            packets = reader.feed(await asyncio.wait_for(stranger.stream.read(65536), 5))
        seen, most = packets[0].envelope.epoch, before
        try:
            for seq in range(2, 34):
                envelope = env.Envelope(version=env.VERSION, epoch=5, seen=seen, seq=seq, ack=0, sizes=(len(body),))
                parts = env.pack(env.Packet(envelope, (body,)))
                await stranger.stream.write(b"".join(bytes(part) for part in parts))
                most = max(most, resident(local.orchestrator))
        except PeerUnreachable:
            pass  # hung up on in the midst of it
        assert most - before < 48
        assert await stranger.hung_up_on()


@pytest.mark.timeout(120)
async def test_a_crowd_of_strangers_keeps_nobody_out(local, contact):
    crowd = [Stranger() for _ in range(24)]
    for stranger in crowd:
        await stranger.__aenter__()
    await asyncio.gather(*(stranger.come(contact) for stranger in crowd))
    await asyncio.to_thread(fleet_works, local)
    assert all(await asyncio.gather(*(stranger.hung_up_on() for stranger in crowd)))
    for stranger in crowd:
        await stranger.__aexit__()
