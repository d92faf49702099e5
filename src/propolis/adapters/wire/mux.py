"""Streams and datagrams over one ordered pipe of sealed messages, each stream with credit of its own.

A stream that nobody reads stops its writer after WINDOW bytes and nobody else. A side that sends beyond its credit, or
opens more streams than allowed, loses the channel.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from propolis.ports.wire import DIAL_SECONDS, MAX_DATAGRAM, MAX_STREAMS
from propolis.terms.errors import MalformedMessage, PeerUnreachable, TooLarge
from propolis.terms.identity import NodeId

WINDOW = 1024 * 1024
SLICE = 128 * 1024
DATA, FINISH, RESET, CREDIT, DATAGRAM = range(5)

Send = Callable[[bytes], Awaitable[None]]


class MuxStream:
    """One end of a stream."""

    def __init__(self, channel: "MuxChannel", number: int) -> None:
        self._channel = channel
        self._number = number
        self._inbox = bytearray()
        self._credit = WINDOW
        self._owed = 0
        self._arrived = asyncio.Event()
        self._allowed = asyncio.Event()
        self._ended = self._finished = self._broken = False

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all; waits for the reader's credit."""
        view = memoryview(data)
        while view:
            while self._credit <= 0 and not self._broken:
                self._allowed.clear()
                await self._allowed.wait()
            if self._broken or self._finished:
                raise PeerUnreachable("the stream is over")
            size = min(len(view), SLICE, self._credit)
            self._credit -= size
            await self._channel.send(DATA, self._number, bytes(view[:size]))
            view = view[size:]

    async def read(self, limit: int) -> bytes:
        """Return some bytes, or b"" at the end."""
        while not self._inbox and not self._ended and not self._broken:
            self._arrived.clear()
            await self._arrived.wait()
        if self._broken:
            raise PeerUnreachable("the stream is over")
        data = bytes(self._inbox[:limit])
        del self._inbox[:limit]
        self._owed += len(data)
        if self._owed >= WINDOW // 4:
            owed, self._owed = self._owed, 0
            await self._channel.send(CREDIT, self._number, owed.to_bytes(4, "big"))
        return data

    async def finish(self) -> None:
        """Nothing more from us."""
        if not self._finished and not self._broken:
            self._finished = True
            await self._channel.send(FINISH, self._number, b"")
            self._channel.forget(self._number, self)

    async def reset(self) -> None:
        """Abandon both directions."""
        if not self._broken:
            self.take(RESET, b"")
            try:
                await self._channel.send(RESET, self._number, b"")
            except PeerUnreachable:
                return

    @property
    def over(self) -> bool:
        """Whether both directions have ended."""
        return self._broken or (self._ended and self._finished)

    def take(self, kind: int, payload: bytes) -> None:
        """Take what the peer sent. Raises MalformedMessage when it is over its credit."""
        if kind == DATA:
            if len(self._inbox) + self._owed + len(payload) > WINDOW + SLICE:
                raise MalformedMessage("a stream beyond its credit")
            self._inbox += payload
        elif kind == FINISH:
            self._ended = True
            self._channel.forget(self._number, self)
        elif kind == CREDIT:
            self._credit = min(self._credit + int.from_bytes(payload[:4], "big"), WINDOW)
        else:
            self._broken = True
            self._channel.forget(self._number, self)
        self._arrived.set()
        self._allowed.set()


class MuxChannel:
    """One end of a channel. `take` is fed with opened messages by the owner of the pipe."""

    def __init__(self, peer: NodeId, observed: str, send: Send, hang_up: Callable[[], None], *, dialled: bool) -> None:
        self._peer = peer
        self._observed = observed
        self._send = send
        self._hang_up = hang_up
        self._next = 1 if dialled else 2
        self._streams: dict[int, MuxStream] = {}
        self._opened = 0
        self._last_theirs = 0
        self._fresh: deque[MuxStream] = deque()  # opened by the peer, not accepted yet; never more than its streams
        self._knock = asyncio.Event()
        self._datagrams: deque[bytes] = deque(maxlen=256)
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def peer(self) -> NodeId:
        """The key the other side proved."""
        return self._peer

    @property
    def observed(self) -> str:
        """The address the other side is seen at."""
        return self._observed

    async def send(self, kind: int, number: int, payload: bytes) -> None:
        """Send one message of the mux."""
        if self._over.is_set():
            raise PeerUnreachable("the channel is over")
        await self._send(bytes((kind,)) + number.to_bytes(4, "big") + payload)

    async def open_stream(self) -> MuxStream:
        """Open a stream; waits DIAL_SECONDS for room, then refuses."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                while self._opened >= MAX_STREAMS and not self._over.is_set():
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError as error:
            raise PeerUnreachable("the peer holds as many streams as it takes") from error
        if self._over.is_set():
            raise PeerUnreachable("the channel is over")
        number, self._next = self._next, self._next + 2
        self._opened += 1
        stream = self._streams[number] = MuxStream(self, number)
        return stream

    async def accept_stream(self) -> MuxStream:
        """Wait for a stream of the peer."""
        while not self._fresh:
            if self._over.is_set():
                raise PeerUnreachable("the channel is over")
            self._knock.clear()
            await self._knock.wait()
        return self._fresh.popleft()

    async def send_datagram(self, data: bytes) -> None:
        """Send a small message."""
        if len(data) > MAX_DATAGRAM:
            raise TooLarge(f"a datagram holds {MAX_DATAGRAM} bytes, not {len(data)}")
        await self.send(DATAGRAM, 0, data)

    async def receive_datagram(self) -> bytes:
        """Wait for a datagram."""
        while not self._datagrams:
            if self._over.is_set():
                raise PeerUnreachable("the channel is over")
            self._arrived.clear()
            await self._arrived.wait()
        return self._datagrams.popleft()

    async def close(self) -> None:
        """End the channel."""
        self.end()
        self._hang_up()

    async def closed(self) -> None:
        """Return when it is over."""
        await self._over.wait()

    def end(self) -> None:
        """The pipe is gone: wake everyone."""
        if self._over.is_set():
            return
        self._over.set()
        for stream in list(self._streams.values()):
            stream.take(RESET, b"")
        self._fresh.clear()
        for waiting in (self._knock, self._arrived, self._room):
            waiting.set()

    def forget(self, number: int, stream: MuxStream) -> None:
        """Drop a stream that is over."""
        if not stream.over or self._streams.pop(number, None) is None:
            return
        if number % 2 == self._next % 2:
            self._opened -= 1
            self._room.set()
        elif stream in self._fresh:
            self._fresh.remove(stream)  # given up before anybody took it

    def take(self, message: bytes) -> None:
        """Take one opened message. Raises MalformedMessage."""
        if len(message) < 5 or message[0] > DATAGRAM:
            raise MalformedMessage("not a message of the mux")
        kind, number, payload = message[0], int.from_bytes(message[1:5], "big"), message[5:]
        if kind == DATAGRAM:
            self._datagrams.append(payload)
            self._arrived.set()
            return
        stream = self._streams.get(number)
        if stream is None and kind == DATA and number % 2 != self._next % 2 and number > self._last_theirs:
            theirs = sum(known % 2 == number % 2 for known in self._streams)
            if theirs >= MAX_STREAMS:
                raise MalformedMessage("more streams than allowed")
            self._last_theirs = number
            stream = self._streams[number] = MuxStream(self, number)
            self._fresh.append(stream)
            self._knock.set()
        if stream is not None:
            stream.take(kind, payload)
