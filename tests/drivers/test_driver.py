"""The driver and the post with a toy party: write, then send; a full disk sends nothing; nonsense costs the channel."""

import asyncio
import time

import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.wire.memory import MemoryNet
from propolis.adapters.world.system import SystemClock
from propolis.messages import codec
from propolis.messages.envelope import VERSION, Envelope, Packet
from propolis.messages.jobs import Refused, Stop
from propolis.ports.store import Drop, Put
from propolis.ports.wire import DIAL_SECONDS
from propolis.protocols.machine import (
    ChannelClosed,
    ChannelOpened,
    Dial,
    DialFailed,
    Event,
    FromStore,
    HangUp,
    PacketArrived,
    Persist,
    Transmit,
)  # fmt: skip
from propolis.runtime.driver import Driver
from propolis.runtime.post import Post
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, StoreError, StoreFull

A, B = b"a" * 32, b"b" * 32


class Go(Event, frozen=True):
    """Begin."""


class Toy:
    """Records events; on Go dials, on an open channel of its own persists a row and sends it."""

    def __init__(self, size=10):
        self.events, self.size = [], size

    def handle(self, event, now):
        self.events.append(event)
        if isinstance(event, Go):
            return [Dial(Contact(peer=B, addresses=()))]
        if isinstance(event, ChannelOpened) and event.ours:
            envelope = Envelope(
                version=VERSION, epoch=1, seen=0, seq=1, ack=0, message=Stop(job=bytes(16)), sizes=(self.size,)
            )
            write = Persist((Put("t", b"k", b"v" * self.size),))
            return [Transmit(B, Packet(envelope), (FromStore("t", b"k", self.size),)), write]
        return []

    def deadline(self):
        return None

    def check(self):
        return None

    async def wait_for(self, kind):
        while not any(isinstance(event, kind) for event in self.events):
            await asyncio.sleep(0.005)
        return next(event for event in self.events if isinstance(event, kind))


class House:
    def __init__(self, net, name, toy, store=None, on_blob=None):
        self.toy, self.store = toy, store or MemoryStore()
        self.driver = Driver(toy, clock=SystemClock(), store=self.store)
        self.post = Post([net.wire(name)], self.store, self.driver.post)
        for kind, do in ((Dial, self.post.dial), (HangUp, self.post.hang_up), (Transmit, self.post.transmit)):
            self.driver.on(kind, do)
        if on_blob is not None:
            self.post.serve_blobs(on_blob)
        self.driver.after_round(self.post.flush)
        self.post.start()
        self.driver.start()

    async def close(self):
        await self.driver.stop()
        await self.post.stop()


@pytest.fixture
async def houses():
    made = []

    def make(*args, **options):
        made.append(House(*args, **options))
        return made[-1]

    yield make
    for house in made:
        await house.close()


@pytest.mark.timeout(20)
async def test_a_stored_body_leaves_after_its_commit(houses):
    net = MemoryNet()
    one, other = houses(net, A, Toy(size=3_000_000)), houses(net, B, Toy())
    one.driver.post(Go())
    arrived = await other.toy.wait_for(PacketArrived)
    assert bytes(arrived.packet.body[0]) == b"v" * 3_000_000
    assert one.store.get("t", b"k") is not None


class Hasty(Toy):
    """Queues a stored row and drops it in the same round, as when a result is taken twice over; then says more."""

    def handle(self, event, now):
        actions = super().handle(event, now)
        if actions and isinstance(event, ChannelOpened):
            more = Envelope(version=VERSION, epoch=1, seen=0, seq=2, ack=0, message=Stop(job=bytes(16)))
            return [*actions, Persist((Drop("t", b"k"),)), Transmit(B, Packet(more))]
        return actions


@pytest.mark.timeout(20)
async def test_a_stored_body_that_went_meanwhile_travels_as_a_hole_and_holds_nothing_up(houses):
    net = MemoryNet()
    one, other = houses(net, A, Hasty()), houses(net, B, Toy())
    one.driver.post(Go())
    while len([e for e in other.toy.events if isinstance(e, PacketArrived)]) < 2:
        await asyncio.sleep(0.005)
    first, second = (e.packet for e in other.toy.events if isinstance(e, PacketArrived))
    assert first.envelope.seq == 1
    assert first.body == (b"",)
    assert second.envelope.seq == 2


class Verbose(Toy):
    """Says something that is over the frame's bound, then something that is not."""

    def handle(self, event, now):
        self.events.append(event)
        if isinstance(event, Go):
            return [Dial(Contact(peer=B, addresses=()))]
        if isinstance(event, ChannelOpened) and event.ours:
            long = Refused(job=bytes(16), code="x", reason="y" * 100_000)
            return [
                Transmit(B, Packet(Envelope(version=VERSION, epoch=1, seen=0, seq=seq, ack=0, message=message)))
                for seq, message in ((1, long), (2, Stop(job=bytes(16))))
            ]
        return []


@pytest.mark.timeout(20)
async def test_a_message_over_the_bound_is_left_out_and_the_session_goes_on(houses):
    net = MemoryNet()
    one, other = houses(net, A, Verbose()), houses(net, B, Toy())
    one.driver.post(Go())
    while len([e for e in other.toy.events if isinstance(e, PacketArrived)]) < 2:
        await asyncio.sleep(0.005)
    first, second = (e.packet.envelope for e in other.toy.events if isinstance(e, PacketArrived))
    assert (first.seq, first.message) == (1, None)
    assert (second.seq, second.message) == (2, Stop(job=bytes(16)))


@pytest.mark.timeout(20)
async def test_a_full_disk_sends_nothing_and_ends_the_driver_with_its_name(houses):
    net = MemoryNet()
    one, other = houses(net, A, Toy(), store=MemoryStore(capacity=5)), houses(net, B, Toy())
    one.driver.post(Go())
    with pytest.raises(StoreFull):
        await asyncio.wait_for(one.driver.join(), 5)
    await asyncio.sleep(0.05)
    assert not any(isinstance(event, PacketArrived) for event in other.toy.events)


@pytest.mark.timeout(20)
async def test_a_peer_that_sends_nonsense_loses_its_channel(houses):
    net = MemoryNet()
    other = houses(net, B, Toy())
    channel = await net.wire(A).dial(Contact(peer=B, addresses=()))
    stream = await channel.open_stream()
    await stream.write(b"C" + b"\xff" * 64)
    await other.toy.wait_for(ChannelClosed)
    await asyncio.wait_for(channel.closed(), 5)


@pytest.mark.timeout(20)
async def test_a_peer_of_another_version_is_why_its_channel_closed(houses):
    net = MemoryNet()
    other = houses(net, B, Toy())
    channel = await net.wire(A).dial(Contact(peer=B, addresses=()))
    stream = await channel.open_stream()
    header = codec.encode([VERSION + 1, "what tomorrow says"])
    await stream.write(b"C" + len(header).to_bytes(4, "big") + header)
    closed = await other.toy.wait_for(ChannelClosed)
    assert "version 2" in closed.reason
    assert "update" in closed.reason


@pytest.mark.timeout(20)
async def test_a_dial_to_nobody_is_an_event(houses):
    one = houses(MemoryNet(), A, Toy())
    one.driver.post(Go())
    assert (await one.toy.wait_for(DialFailed)).peer == B


@pytest.mark.timeout(20)
async def test_a_stream_given_up_before_its_first_word_does_not_end_the_serving(houses):
    """A fetch that another holder finished first gives its stream up at once; the next one is served all the same."""
    served = asyncio.Event()

    async def on_blob(peer, stream):
        served.set()

    net = MemoryNet()
    wire = net.wire(A)
    other = houses(net, B, Toy(), on_blob=on_blob)
    channel = await wire.dial(Contact(peer=B, addresses=()))
    control = await channel.open_stream()
    await control.write(b"C")
    await other.toy.wait_for(ChannelOpened)
    given_up = await channel.open_stream()
    await given_up.reset()
    await (await channel.open_stream()).write(b"B")
    await asyncio.wait_for(served.wait(), 5)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("error", [PeerUnreachable, StoreError, None])
async def test_a_serving_that_fails_gives_its_stream_back(houses, error):
    """Whatever ends the serving of a blob stream, its end is freed; a served stream ends by its server's last word."""

    async def on_blob(peer, stream):
        if error is not None:
            raise error("no")
        await stream.write(b"all")
        await stream.finish()

    net = MemoryNet()
    wire = net.wire(A)
    other = houses(net, B, Toy(), on_blob=on_blob)
    channel = await wire.dial(Contact(peer=B, addresses=()))
    await (await channel.open_stream()).write(b"C")
    await other.toy.wait_for(ChannelOpened)
    stream = await channel.open_stream()
    await stream.write(b"B")
    if error is None:
        assert [await stream.read(10), await stream.read(10)] == [b"all", b""]
    else:
        with pytest.raises(PeerUnreachable):
            await asyncio.wait_for(stream.read(10), 5)


@pytest.mark.timeout(20)
async def test_a_dial_takes_three_seconds_with_its_greeting_and_leaves_no_channel(houses):
    """The peer answers late and then has no room for the control stream: both together are one dial."""
    net = MemoryNet()
    one, other = houses(net, A, Toy()), net.wire(B)
    (wire,) = one.post._wires
    real = wire.dial

    async def late(contact):
        await asyncio.sleep(DIAL_SECONDS / 2)
        channel = await real(contact)
        channel.open_stream = asyncio.Event().wait
        return channel

    wire.dial = late
    started = time.monotonic()
    one.driver.post(Go())
    failed = await one.toy.wait_for(DialFailed)
    assert time.monotonic() - started < DIAL_SECONDS + 2.0
    assert "within 3 s" in failed.reason
    await asyncio.wait_for((await other.accept()).closed(), 1)
