"""What every wire must do. `pair(admit)` returns (dialling wire, accepting wire, how to reach the second).

SUITE takes the pair alone. HOSTILE takes `lift(channel)` too, which makes a dialler of ours forget its own bound: what is
tested there is the side that accepts.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from propolis.ports.wire import DIAL_SECONDS, MAX_DATAGRAM, MAX_STREAMS, Admit, Channel, Stream, Wire
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, TooLarge
from propolis.terms.identity import NodeId

Pair = Callable[[Admit | None], Awaitable[tuple[Wire, Wire, Contact]]]
Lift = Callable[[Channel], None]


async def _refused(work: Awaitable[object], seconds: float = DIAL_SECONDS + 1.0) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except PeerUnreachable:
        return
    raise AssertionError("PeerUnreachable was wanted")


async def _channels(pair: Pair) -> tuple[Wire, Wire, Channel, Channel]:
    one, other, contact = await pair(None)
    near, far = await asyncio.gather(one.dial(contact), other.accept())
    return one, other, near, far


async def _streams(near: Channel, far: Channel) -> tuple[Stream, Stream]:
    stream = await near.open_stream()
    await stream.write(b"!")
    there = await far.accept_stream()
    assert await there.read(1) == b"!"
    return stream, there


async def _all(stream: Stream) -> bytes:
    parts: list[bytes] = []
    while part := await stream.read(1 << 20):
        parts.append(part)
    return b"".join(parts)


async def proves_both_keys(pair: Pair) -> None:
    """Each side knows the key of the other."""
    one, other, near, far = await _channels(pair)
    assert near.peer == other.identity
    assert far.peer == one.identity
    await one.close()
    await other.close()


async def carries_bytes_both_ways(pair: Pair) -> None:
    """Ten megabytes arrive as sent, in both directions at once, each ending on its own."""
    one, other, near, far = await _channels(pair)
    here, there = await _streams(near, far)
    data = bytes(range(256)) * 40_000

    async def push(stream: Stream) -> None:
        await stream.write(data)
        await stream.finish()

    _, _, got_here, got_there = await asyncio.gather(push(here), push(there), _all(here), _all(there))
    assert got_here == got_there == data
    await one.close()
    await other.close()


async def streams_do_not_wait_for_each_other(pair: Pair) -> None:
    """A stream nobody reads stops its writer, not its neighbour."""
    one, other, near, far = await _channels(pair)
    stuck, _unread = await _streams(near, far)
    writing = asyncio.create_task(stuck.write(bytes(16 << 20)))
    here, there = await _streams(near, far)
    await here.write(b"through")
    assert await asyncio.wait_for(there.read(100), 5) == b"through"
    assert not writing.done()
    writing.cancel()
    await one.close()
    await other.close()


async def a_dialler_keeps_to_the_bound(pair: Pair) -> None:
    """We open no more than MAX_STREAMS: what is over the bound is refused here, before it costs the channel there."""
    one, other, near, far = await _channels(pair)
    held = [await _streams(near, far) for _ in range(MAX_STREAMS)]
    await _refused(near.open_stream())
    assert len(held) == MAX_STREAMS
    await one.close()
    await other.close()


async def _give_way(channel: Channel) -> None:
    """Accept the peer's streams and end our side of each once the peer has given it up."""
    ending: set[asyncio.Task[None]] = set()

    async def until_given_up(stream: Stream) -> None:
        with contextlib.suppress(PeerUnreachable):
            while await stream.read(100):
                pass
            await stream.finish()
            return
        await stream.reset()

    with contextlib.suppress(PeerUnreachable):
        while True:
            task = asyncio.create_task(until_given_up(await channel.accept_stream()))
            ending.add(task)
            task.add_done_callback(ending.discard)


async def a_stream_given_up_makes_room(pair: Pair) -> None:
    """Opening and abandoning goes on for ever: said something or not, one after the other or all at once."""
    one, other, near, far = await _channels(pair)
    giving = asyncio.create_task(_give_way(far))
    for number in range(2 * MAX_STREAMS):
        stream = await asyncio.wait_for(near.open_stream(), 5)
        if number % 2:
            await stream.write(b"!")
        await stream.reset()
    held = [await asyncio.wait_for(near.open_stream(), 5) for _ in range(MAX_STREAMS)]
    for stream in held:
        await stream.write(b"!")
    for stream in held:
        await stream.reset()
    stream = await asyncio.wait_for(near.open_stream(), 5)
    await stream.write(b"there is room")
    await stream.finish()
    assert await asyncio.wait_for(stream.read(1), 5) == b"", "it was taken and ended, not refused"
    giving.cancel()
    await one.close()
    await other.close()


async def a_stream_ended_by_both_makes_room(pair: Pair) -> None:
    """A stream that both sides finished is no stream any more, however often its end was read."""
    one, other, near, far = await _channels(pair)
    giving = asyncio.create_task(_give_way(far))
    for _ in range(3 * MAX_STREAMS):
        stream = await asyncio.wait_for(near.open_stream(), 5)
        await stream.write(b"!")
        await stream.finish()
        assert await asyncio.wait_for(stream.read(1), 5) == b""
    giving.cancel()
    await one.close()
    await other.close()


async def bounds_streams(pair: Pair, lift: Lift) -> None:
    """Whatever a peer does, no more than MAX_STREAMS of its streams are taken."""
    one, other, near, far = await _channels(pair)
    lift(near)
    taken: list[Stream] = []

    full = asyncio.Event()

    async def take() -> None:
        with contextlib.suppress(PeerUnreachable):
            while True:
                taken.append(await far.accept_stream())
                if len(taken) >= MAX_STREAMS:
                    full.set()

    async def push() -> None:
        with contextlib.suppress(PeerUnreachable):
            while True:
                await (await near.open_stream()).write(b"!")
                await asyncio.sleep(0.002)  # the others are taken before the one too many

    tasks = [asyncio.create_task(take()), asyncio.create_task(push())]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(full.wait(), 20.0)  # a busy machine takes its time; the bound is what is asked
    await asyncio.sleep(1.0)
    assert len(taken) == MAX_STREAMS, f"{len(taken)} streams were taken"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await one.close()
    await other.close()


async def carries_datagrams(pair: Pair) -> None:
    """Small messages arrive whole; larger ones are an error of ours."""
    one, other, near, far = await _channels(pair)
    for size in (1, 1000, MAX_DATAGRAM):
        await near.send_datagram(bytes(size))
        assert len(await asyncio.wait_for(far.receive_datagram(), 5)) == size
    try:
        await near.send_datagram(bytes(MAX_DATAGRAM + 1))
    except TooLarge:
        pass
    else:
        raise AssertionError("TooLarge was wanted")
    await one.close()
    await other.close()


async def a_wrong_key_is_refused(pair: Pair) -> None:
    """Who answers with another key than asked for is not talked to."""
    one, other, contact = await pair(None)
    fourth, third, _ = await pair(None)  # a key that is neither side's: nobody refuses it as its own
    assert third.identity not in (one.identity, other.identity)
    started = time.monotonic()
    await _refused(one.dial(Contact(peer=third.identity, addresses=contact.addresses)))
    assert time.monotonic() - started < DIAL_SECONDS + 0.5
    await (await one.dial(contact)).close()  # the address was right all along
    for wire in (one, other, third, fourth):
        await wire.close()


async def who_is_not_admitted_gets_nothing(pair: Pair) -> None:
    """A peer that is not admitted has no channel a moment later."""

    async def nobody(_: NodeId) -> bool:
        return False

    one, other, contact = await pair(nobody)
    try:
        channel = await one.dial(contact)
    except PeerUnreachable:
        pass
    else:
        await asyncio.wait_for(channel.closed(), 5)
    await one.close()
    await other.close()


async def an_end_is_noticed(pair: Pair) -> None:
    """Closing one side wakes everything that waits on the other."""
    one, other, near, far = await _channels(pair)
    _, there = await _streams(near, far)
    waits = [far.accept_stream(), far.receive_datagram(), there.read(1)]
    tasks = [asyncio.create_task(_refused(wait, 10)) for wait in waits]
    await asyncio.sleep(0.05)
    await near.close()
    await near.close()
    await asyncio.wait_for(asyncio.gather(*tasks, far.closed()), 10)
    await one.close()
    await other.close()
    await other.close()


async def a_closed_wire_accepts_nothing(pair: Pair) -> None:
    """Waiting for a channel ends when the wire closes."""
    one, other, _ = await pair(None)
    waiting = asyncio.create_task(_refused(other.accept(), 10))
    await asyncio.sleep(0.05)
    await other.close()
    await waiting
    await one.close()


SUITE = (
    proves_both_keys,
    carries_bytes_both_ways,
    streams_do_not_wait_for_each_other,
    a_dialler_keeps_to_the_bound,
    a_stream_given_up_makes_room,
    a_stream_ended_by_both_makes_room,
    carries_datagrams,
    a_wrong_key_is_refused,
    who_is_not_admitted_gets_nothing,
    an_end_is_noticed,
    a_closed_wire_accepts_nothing,
)
HOSTILE = (bounds_streams,)
