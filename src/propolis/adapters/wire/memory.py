"""The stand-in wire: channels inside one process, with the same bounds and failures as a real one, and a knife for tests.

Keys are believed, not proven: that is why no assembly can reach it (import contract 6).
"""

import asyncio
from collections import deque

from propolis.ports.wire import DIAL_SECONDS, MAX_DATAGRAM, MAX_STREAMS, Admit
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, TooLarge
from propolis.terms.identity import NodeId

WINDOW = 1024 * 1024


class MemoryStream:
    """One end of a stream."""

    def __init__(self, *, theirs: bool = False) -> None:
        self.theirs = theirs  # opened by the peer
        self._inbox = bytearray()
        self._ended = False
        self._broken = False
        self._changed = asyncio.Condition()
        self.other: MemoryStream

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self._broken or (self._ended and self.other._ended)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all; waits while the peer's buffer is full."""
        for start in range(0, len(data), WINDOW):
            await self.other._push(bytes(data[start : start + WINDOW]))

    async def _push(self, data: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._inbox) < WINDOW or self._broken)
            if self._broken:
                raise PeerUnreachable("the stream is broken")
            self._inbox += data
            self._changed.notify_all()

    async def read(self, limit: int) -> bytes:
        """Return some bytes, or b"" at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._inbox) or self._ended or self._broken)
            if self._broken:
                raise PeerUnreachable("the stream is broken")
            data = bytes(self._inbox[:limit])
            del self._inbox[:limit]
            self._changed.notify_all()
            return data

    async def finish(self) -> None:
        """No more from us."""
        async with self.other._changed:
            self.other._ended = True
            self.other._changed.notify_all()

    async def reset(self) -> None:
        """Break both ends."""
        for end in (self, self.other):
            async with end._changed:
                end._broken = True
                end._changed.notify_all()


class MemoryChannel:
    """One end of a channel."""

    def __init__(self, peer: NodeId) -> None:
        self._peer = peer
        self._streams: asyncio.Queue[MemoryStream] = asyncio.Queue()
        self._datagrams: deque[bytes] = deque(maxlen=256)
        self._arrived = asyncio.Event()
        self._over = asyncio.Event()
        self._all: list[MemoryStream] = []
        self.other: MemoryChannel
        self.silent = False

    @property
    def peer(self) -> NodeId:
        """The other side."""
        return self._peer

    @property
    def observed(self) -> str:
        """The other side's address."""
        return f"memory:{self._peer[:4].hex()}"

    async def open_stream(self) -> MemoryStream:
        """Open a stream towards the peer."""
        self._alive()
        if self.other._theirs() >= MAX_STREAMS:
            raise PeerUnreachable("the peer holds as many streams as it takes")
        here, there = MemoryStream(), MemoryStream(theirs=True)
        here.other, there.other = there, here
        self._all.append(here)
        self.other._all.append(there)
        self.other._streams.put_nowait(there)
        return here

    def _theirs(self) -> int:
        self._all = [stream for stream in self._all if not stream.over]
        return sum(stream.theirs for stream in self._all)

    async def accept_stream(self) -> MemoryStream:
        """Wait for a stream of the peer."""
        waiting = asyncio.ensure_future(self._streams.get())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({waiting, over}, return_when=asyncio.FIRST_COMPLETED)
            self._alive()
            return waiting.result()
        finally:
            waiting.cancel()
            over.cancel()

    async def send_datagram(self, data: bytes) -> None:
        """Send a small message, best effort."""
        if len(data) > MAX_DATAGRAM:
            raise TooLarge(f"a datagram holds {MAX_DATAGRAM} bytes")
        self._alive()
        if not self.silent:
            self.other._datagrams.append(data)
            self.other._arrived.set()

    async def receive_datagram(self) -> bytes:
        """Wait for a datagram."""
        while not self._datagrams:
            self._alive()
            self._arrived.clear()
            await self._arrived.wait()
        return self._datagrams.popleft()

    async def close(self) -> None:
        """End both sides."""
        for end in (self, self.other):
            end._over.set()
            end._arrived.set()
            for stream in list(end._all):
                await stream.reset()

    async def closed(self) -> None:
        """Return when over."""
        await self._over.wait()

    def _alive(self) -> None:
        if self._over.is_set():
            raise PeerUnreachable("the channel is over")


class MemoryNet:
    """What the endpoints of one test share."""

    def __init__(self) -> None:
        self.wires: dict[NodeId, MemoryWire] = {}
        self.cut: set[frozenset[NodeId]] = set()

    def wire(self, identity: NodeId, admit: Admit | None = None) -> "MemoryWire":
        """Return a new endpoint."""
        return MemoryWire(self, identity, admit)


class MemoryWire:
    """One endpoint."""

    def __init__(self, net: MemoryNet, identity: NodeId, admit: Admit | None) -> None:
        self._net = net
        self._identity = identity
        self._admit = admit
        self._incoming: asyncio.Queue[MemoryChannel | None] = asyncio.Queue()
        self._channels: list[MemoryChannel] = []
        self._closed = False
        net.wires[identity] = self

    @property
    def scheme(self) -> str:
        """Bare addresses."""
        return ""

    @property
    def identity(self) -> NodeId:
        """Our own key."""
        return self._identity

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we can be dialled."""
        return (f"memory:{self._identity.hex()}",)

    async def dial(self, contact: Contact) -> MemoryChannel:
        """Reach a peer."""
        wanted = bytes.fromhex(contact.addresses[0].partition(":")[2]) if contact.addresses else contact.peer
        there = self._net.wires.get(NodeId(wanted))
        if there is None or there._closed or frozenset((self._identity, contact.id)) in self._net.cut:
            await asyncio.sleep(min(0.05, DIAL_SECONDS))
            raise PeerUnreachable("nobody answers at this address")
        if there.identity != contact.id:
            raise PeerUnreachable("another key answers at this address")
        if there._admit is not None and not await there._admit(self._identity):
            raise PeerUnreachable("the peer does not admit us")
        here, far = MemoryChannel(contact.id), MemoryChannel(self._identity)
        here.other, far.other = far, here
        self._channels.append(here)
        there._channels.append(far)
        there._incoming.put_nowait(far)
        return here

    async def accept(self) -> MemoryChannel:
        """Wait for the next channel."""
        channel = await self._incoming.get()
        if channel is None:
            raise PeerUnreachable("the wire is closed")
        return channel

    async def close(self) -> None:
        """End everything."""
        self._closed = True
        self._incoming.put_nowait(None)
        for channel in self._channels:
            await channel.close()
