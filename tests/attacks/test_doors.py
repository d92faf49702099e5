"""Crowds at the doors that begin a handshake and never end it: members still join and come back. docs/security/attacks.md."""

import asyncio
import base64
import contextlib
import secrets
import socket
import threading
import time

import msgspec
import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.wire import gate as gates
from propolis.adapters.wire.iroh import RETRY_FROM, IrohWire
from propolis.adapters.wire.memory import MemoryNet
from propolis.adapters.wire.websocket import WebSocketWire
from propolis.protocols.machine import ChannelOpened
from propolis.runtime import door as doors
from propolis.runtime.invitation import from_text, to_text
from propolis.runtime.post import Post
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, PropolisError

CROWD = 400
PATIENCE = 60.0
FEW = 3  # dials: whoever is refused for the three seconds that silence lasts dials some thirty times
HALF = b"GET / HTTP/1.1\r\nHost: propolis\r\nUpgrade: websocket\r\nConnection: Upgr"
WHOLE = (
    b"GET / HTTP/1.1\r\nHost: propolis\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: propolis-1\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
WORDS = {"half-open": b"", "half an upgrade": HALF, "an upgrade and no hello": WHOLE}


def source(number):
    """An address of loopback's own: Linux takes any of 127.0.0.0/8 as ours."""
    return f"127.{1 + number // 250}.0.{1 + number % 250}"


class Crowd:
    """Connections from many sources that say `words` and then nothing; each that is cut comes again after `pause`."""

    def __init__(self, address, words, size=CROWD, pause=0.5, sources=source):
        self.host, _, self.port = address.partition("://")[2].rpartition(":")
        self.words, self.size, self.pause, self.sources = words, size, pause, sources
        self.came = self.here = 0

    async def _one(self, number):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    self.host, int(self.port), local_addr=(self.sources(number), 0)
                )
                self.came += 1
                self.here += 1
                try:
                    writer.write(self.words)
                    while await reader.read(4096):
                        pass
                finally:
                    self.here -= 1
                    writer.transport.abort()
            await asyncio.sleep(self.pause)

    @contextlib.asynccontextmanager
    async def standing(self):
        tasks = [asyncio.create_task(self._one(number)) for number in range(self.size)]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextlib.contextmanager
    def beside(self):
        """The same in a thread of its own."""
        ready, over = threading.Event(), threading.Event()

        async def stand():
            async with self.standing():
                while self.came < self.size:
                    await asyncio.sleep(0.02)
                ready.set()
                await asyncio.to_thread(over.wait)

        thread = threading.Thread(target=asyncio.run, args=(stand(),))
        thread.start()
        try:
            assert ready.wait(PATIENCE), "the crowd does not come together"
            yield self
        finally:
            over.set()
            thread.join()


def web_only(text):
    invitation = from_text(text)
    addresses = tuple(address for address in invitation.addresses if address.startswith("ws://"))
    return to_text(msgspec.structs.replace(invitation, addresses=addresses))


def comes_in(home):
    """Return once the owner of this home is inside: its client dials again and again, as members do."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with Fleet(home) as fleet:
                return fleet.nodes()
        except PropolisError:
            assert time.monotonic() < deadline, "kept out"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    fleet = LocalFleet(tmp_path_factory.mktemp("door"), [])
    try:
        ready = fleet.start_orchestrator(invite_owner=True)
        Fleet.join(ready["owner_invitation"], fleet.home)
        yield fleet, ready
    finally:
        fleet.stop()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_four_hundred_unfinished_websockets_keep_no_member_out(local, tmp_path, words):
    fleet, ready = local
    address = next(a for a in ready["addresses"] if a.startswith("ws://"))
    with Fleet(fleet.home) as operator:
        invitation = web_only(operator.invite("owner"))
    crowd = Crowd(address, words)
    with crowd.beside():
        Fleet.join(invitation, tmp_path)
        comes_in(tmp_path)  # joins
        for _ in range(3):
            comes_in(tmp_path)  # and comes back
        assert crowd.here > CROWD // 4, "there was a crowd all the while"


async def websocket(gate):
    wire = await WebSocketWire.open(secrets.token_bytes(32), listen="127.0.0.1:0", gate=gate)
    return wire, Contact(peer=wire.identity, addresses=wire.addresses)


async def dials(wire, contact):
    """Return how many dials it took."""
    deadline, count = time.monotonic() + PATIENCE, 1
    while True:
        try:
            await (await wire.dial(contact)).close()
            return count
        except PeerUnreachable:
            assert time.monotonic() < deadline, "kept out"
            count += 1
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_a_gate_full_of_silence_lets_the_next_one_in():
    there, contact = await websocket(gates.Gate(room=256))
    here = await WebSocketWire.open(secrets.token_bytes(32))
    async with Crowd(contact.addresses[0], WHOLE, pause=3600).standing() as crowd:
        while crowd.came < CROWD:
            await asyncio.sleep(0.01)
        assert await dials(here, contact) <= FEW
    await here.close()
    await there.close()


@pytest.mark.timeout(120)
async def test_one_source_holds_no_more_than_its_share_of_the_gate():
    gate = gates.Gate(per_source=64)
    there, contact = await websocket(gate)
    here = await WebSocketWire.open(secrets.token_bytes(32))
    async with Crowd(contact.addresses[0], WHOLE, size=200, sources=lambda _: "127.9.9.9").standing() as crowd:
        while crowd.came < 200:
            assert len(gate) <= 64 + 1
            await asyncio.sleep(0.01)
        await dials(here, contact)
    await here.close()
    await there.close()


@pytest.mark.timeout(120)
async def test_who_says_nothing_is_gone_in_the_time_of_a_hello():
    gate = gates.Gate()
    there, contact = await websocket(gate)
    host, _, port = contact.addresses[0].removeprefix("ws://").rpartition(":")
    for words in WORDS.values():
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(words)
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(4096):
                pass
        assert time.monotonic() - started > gates.HELLO_SECONDS - 0.5
        writer.close()
    assert len(gate) == 0
    await there.close()


async def begun(peer, count):
    """Return first packets of dials to `peer`, as an honest client makes them, taken by one who only listens."""
    client = await IrohWire.bind(secrets.token_bytes(32))
    found = []
    with socket.socket(type=socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        hole.setblocking(False)
        contact = Contact(peer=peer, addresses=(f"127.0.0.1:{hole.getsockname()[1]}",))
        seen = set()
        while len(found) < count:
            dial = asyncio.create_task(client.dial(contact))
            packets = []
            while not packets or packets[0][6:14] in seen:
                packets = [await asyncio.get_running_loop().sock_recv(hole, 2048)]
            with contextlib.suppress(TimeoutError):
                while len(packets) < 4:
                    packets.append(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(hole, 2048), 0.005))
            seen.add(packets[0][6:14])
            found.append([packet for packet in packets if packet[6:14] == packets[0][6:14]])
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)
    await client.close()
    return found


@pytest.mark.timeout(120)
async def test_three_hundred_unfinished_dials_over_quic_keep_nobody_out():
    there = await IrohWire.bind(secrets.token_bytes(32))
    here = await IrohWire.bind(secrets.token_bytes(32))
    address = next(a for a in there.addresses if a.startswith("127."))
    host, _, port = address.rpartition(":")
    packets = await begun(there.identity, 300)
    with contextlib.ExitStack() as sockets:
        for number, words in enumerate(packets):
            one = sockets.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            one.bind((source(number), 0))
            for packet in words:
                one.sendto(packet, (host, int(port)))
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        while not there._gate:
            await asyncio.sleep(0.01)
        assert len(there._gate) <= RETRY_FROM, "whoever does not answer a Retry holds nothing"
        assert await dials(here, Contact(peer=there.identity, addresses=(address,))) <= FEW
    await here.close()
    await there.close()


@pytest.mark.timeout(60)
async def test_a_full_door_lets_the_next_one_in(monkeypatch):
    monkeypatch.setattr(doors, "MAX_WAITING", 8)
    net, opened = MemoryNet(), asyncio.Event()
    there = net.wire(secrets.token_bytes(32))
    post = Post([there], MemoryStore(), lambda event: opened.set() if isinstance(event, ChannelOpened) else None)
    post.start()
    contact = Contact(peer=there.identity, addresses=there.addresses)
    silent = [await net.wire(secrets.token_bytes(32)).dial(contact) for _ in range(8)]
    channel = await net.wire(secrets.token_bytes(32)).dial(contact)
    await (await channel.open_stream()).write(b"C")
    await asyncio.wait_for(opened.wait(), 20)
    await asyncio.wait_for(silent[0].closed(), 20)
    await post.stop()


@pytest.mark.timeout(120)
async def test_one_peer_at_the_door_a_thousand_times_sends_no_visitor_away(monkeypatch):
    monkeypatch.setattr(doors, "MAX_WAITING", 8)
    net, streams = MemoryNet(), asyncio.Queue()
    there, crowd = net.wire(secrets.token_bytes(32)), net.wire(secrets.token_bytes(32))

    async def on_blob(peer, stream):
        await streams.put(peer)
        await asyncio.Event().wait()

    post = Post([there], MemoryStore(), lambda event: None)
    post.serve_blobs(on_blob, visitors=True)
    post.start()
    contact = Contact(peer=there.identity, addresses=there.addresses)
    honest = net.wire(secrets.token_bytes(32))
    visitor = await honest.dial(contact)
    await (await visitor.open_stream()).write(b"B")
    await asyncio.wait_for(streams.get(), 20)
    many = [await crowd.dial(contact) for _ in range(30)]
    for channel in many[:20]:
        await asyncio.wait_for(channel.closed(), 20)
    await (await visitor.open_stream()).write(b"B")
    assert await asyncio.wait_for(streams.get(), 20) == honest.identity
    await post.stop()
