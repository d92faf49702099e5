"""The post office: carries a party's packets over the wire port, and turns what arrives into events.

Per peer one channel (the newest wins) with one control stream, opened by the dialler; its first byte says so. A round's
packets to one peer leave in one write. Bounded: bytes waiting per peer, channels in all. A peer that sends what is not a
frame loses its channel.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from propolis.messages.envelope import FrameReader, Packet, Segment, pack
from propolis.ports.store import Store
from propolis.ports.wire import MAX_DATAGRAM, Channel, Stream, Wire
from propolis.protocols.machine import (
    ChannelClosed,
    ChannelOpened,
    Dial,
    DialFailed,
    Event,
    HangUp,
    PacketArrived,
    Transmit,
    filled,
)
from propolis.terms.contact import Contact
from propolis.terms.errors import MalformedMessage, PeerUnreachable, TooLarge, VersionMismatch, WireError
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)

CONTROL = b"C"
BLOB = b"B"
READ_BYTES = 256 * 1024
MAX_WAITING = 64 * 1024 * 1024
MAX_CHANNELS = 20_000
MAX_UNSETTLED = 1024
VISIT_SECONDS = 60.0
GREETING_SECONDS = 3.0

OnBlob = Callable[[NodeId, Stream], Awaitable[None]]


class Line:
    """One peer's channel and what waits to be written to it."""

    def __init__(self, channel: Channel, *, ours: bool) -> None:
        self.channel = channel
        self.ours = ours
        self.stream: Stream | None = None
        self.waiting: list[Segment] = []
        self.size = 0
        self.wake = asyncio.Event()
        self.closing = False
        self.tasks: list[asyncio.Task[None]] = []


class Post:
    """The lines of one party."""

    def __init__(self, wires: Sequence[Wire], store: Store, on_event: Callable[[Event], None]) -> None:
        """`wires`: the first one dials, except addresses another one names as its own by a scheme (ws://)."""
        self._wires = tuple(wires)
        self._store = store
        self._event = on_event
        self._on_blob: OnBlob | None = None
        self._visitors = False
        self._unsettled: set[Line] = set()  # came, and have not said what for; or came for blobs alone
        self._lines: dict[NodeId, Line] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._accepting: list[asyncio.Task[None]] = []
        self._dirty: set[NodeId] = set()

    def serve_blobs(self, on_blob: OnBlob, *, visitors: bool = False) -> None:
        """Hand peers' blob streams to this; before `start`. `visitors`: also of peers that come for nothing else."""
        self._on_blob, self._visitors = on_blob, visitors

    def start(self) -> None:
        """Begin to accept channels."""
        self._accepting = [asyncio.create_task(self._accept(wire)) for wire in self._wires]

    async def stop(self) -> None:
        """Close every line and the wire."""
        lines = [*self._lines.values(), *self._unsettled]
        tasks = [*self._dials, *self._accepting, *(task for line in lines for task in line.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines.clear()
        for wire in self._wires:
            await wire.close()

    def _wire_for(self, contact: Contact) -> Wire:
        """Return the first wire that can use one of the contact's addresses."""
        schemes = {address.partition("://")[0] if "://" in address else "" for address in contact.addresses}
        return next((wire for wire in self._wires if wire.scheme in schemes), self._wires[0])

    @contextlib.asynccontextmanager
    async def reach(self, contact: Contact) -> AsyncIterator[Channel]:
        """Lend the open channel to a peer, or dial one for the while. Raises PeerUnreachable."""
        line = self._lines.get(contact.id)
        if line is not None:
            yield line.channel
            return
        channel = await self._wire_for(contact).dial(contact)
        try:
            yield channel
        finally:
            await channel.close()

    # -- actions

    def dial(self, action: Dial) -> None:
        """Open a channel; answered by an event."""
        task = asyncio.create_task(self._dial(action.contact))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def hang_up(self, action: HangUp) -> None:
        """Close after what waits is written."""
        line = self._lines.get(action.peer)
        if line is not None:
            line.closing = True
            line.wake.set()

    def transmit(self, action: Transmit) -> None:
        """Queue a packet; it leaves with the round's flush."""
        line = self._lines.get(action.peer)
        if line is None or line.closing:
            return  # the link resends on the next channel
        packet = filled(action.packet, action.parts, self._store.get)
        try:
            buffers = pack(packet)
        except TooLarge as error:  # our own mistake, and a peer may have caused it: the message goes, the session stays
            log.error("a message to %s is not sent: %s", action.peer[:4].hex(), error)
            buffers = pack(Packet(msgspec.structs.replace(packet.envelope, message=None, sizes=())))
        if action.small and line.stream is not None and len(buffers) == 1 and len(buffers[0]) <= MAX_DATAGRAM:
            task = asyncio.create_task(self._datagram(line, bytes(buffers[0])))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)
            return
        line.waiting += buffers
        line.size += sum(map(len, buffers))
        self._dirty.add(action.peer)

    def flush(self) -> None:
        """Wake the writers of lines that were given packets; called once per round."""
        for peer in self._dirty:
            line = self._lines.get(peer)
            if line is None:
                continue
            if line.size > MAX_WAITING:
                log.warning("%s does not read; its channel is closed", peer[:4].hex())
                line.waiting.clear()
                line.closing = True
            line.wake.set()
        self._dirty.clear()

    async def _datagram(self, line: Line, data: bytes) -> None:
        try:
            await line.channel.send_datagram(data)
        except WireError:
            return  # a beat may get lost

    # -- channels

    async def _dial(self, contact: Contact) -> None:
        try:
            channel = await self._wire_for(contact).dial(contact)
            stream = await asyncio.wait_for(channel.open_stream(), GREETING_SECONDS)
            await asyncio.wait_for(stream.write(CONTROL), GREETING_SECONDS)
        except (WireError, TimeoutError) as error:
            log.info("dial: %s", error)
            self._event(DialFailed(contact.id, str(error)))
            return
        line = Line(channel, ours=True)
        line.stream = stream
        self._settle(line)

    async def _accept(self, wire: Wire) -> None:
        while True:
            try:
                channel = await wire.accept()
            except PeerUnreachable:
                return
            if len(self._lines) >= MAX_CHANNELS or len(self._unsettled) >= MAX_UNSETTLED:
                await channel.close()
                continue
            line = Line(channel, ours=False)
            self._unsettled.add(line)
            task = asyncio.create_task(self._greet(line))
            line.tasks.append(task)
            task.add_done_callback(functools.partial(self._unsettle, line))

    def _unsettle(self, line: Line, _: "asyncio.Task[None]") -> None:
        self._unsettled.discard(line)

    async def _greet(self, line: Line) -> None:
        """A newcomer's first stream says soon what it came for: to talk, or for sealed chunks where visitors may have them."""
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                stream = await line.channel.accept_stream()
                kind = await stream.read(1)
            if kind == CONTROL:
                line.stream = stream
                self._settle(line)
                return
            while kind == BLOB and self._visitors:
                line.tasks.append(asyncio.create_task(self._blob(line, stream)))
                async with asyncio.timeout(VISIT_SECONDS):
                    stream = await line.channel.accept_stream()
                    kind = await stream.read(1)
        except (WireError, TimeoutError) as error:
            log.debug("%s came and went: %s", line.channel.peer[:4].hex(), error)
        self._end(line)

    def _settle(self, line: Line) -> None:
        """The line has its control stream: it is the peer's line from now on."""
        peer = line.channel.peer
        old = self._lines.get(peer)
        self._lines[peer] = line
        if old is not None:
            self._event(ChannelClosed(peer))
            self._end(old)
        line.tasks += [
            asyncio.create_task(self._read(line)),
            asyncio.create_task(self._write(line)),
            asyncio.create_task(self._datagrams(line)),
            asyncio.create_task(self._watch(line)),
            asyncio.create_task(self._streams(line)),
        ]
        self._event(ChannelOpened(peer, line.ours, line.channel.observed))

    def _end(self, line: Line) -> None:
        for task in line.tasks:
            if task is not asyncio.current_task():
                task.cancel()
        closing = asyncio.create_task(line.channel.close())
        self._dials.add(closing)
        closing.add_done_callback(self._dials.discard)

    def _over(self, line: Line) -> None:
        peer = line.channel.peer
        if self._lines.get(peer) is line:
            del self._lines[peer]
            self._event(ChannelClosed(peer))
        self._end(line)

    async def _streams(self, line: Line) -> None:
        """Take the peer's streams: the first byte says what each is for."""
        while True:
            try:
                stream = await line.channel.accept_stream()
                kind = await asyncio.wait_for(stream.read(1), GREETING_SECONDS)
            except TimeoutError:
                continue
            except WireError:
                return
            if kind == BLOB and self._on_blob is not None:
                line.tasks.append(asyncio.create_task(self._blob(line, stream)))
                line.tasks = [task for task in line.tasks if not task.done()]
            else:
                await stream.reset()

    async def _blob(self, line: Line, stream: Stream) -> None:
        if self._on_blob is not None:
            try:
                await self._on_blob(line.channel.peer, stream)
            except (WireError, TimeoutError):
                await stream.reset()

    # -- bytes

    async def _read(self, line: Line) -> None:
        reader, peer, stream = FrameReader(), line.channel.peer, line.stream
        try:
            while stream is not None:
                data = await stream.read(READ_BYTES)
                if not data:
                    break
                for packet in reader.feed(data):
                    self._event(PacketArrived(peer, packet))
        except (MalformedMessage, VersionMismatch) as error:
            log.warning("%s: %s", peer[:4].hex(), error)
        except WireError:
            pass
        self._over(line)

    async def _datagrams(self, line: Line) -> None:
        peer = line.channel.peer
        try:
            while True:
                data = await line.channel.receive_datagram()
                for packet in FrameReader().feed(data):
                    self._event(PacketArrived(peer, packet))
        except WireError as error:
            if isinstance(error, MalformedMessage | VersionMismatch):
                log.warning("%s: %s", peer[:4].hex(), error)
                self._over(line)

    async def _write(self, line: Line) -> None:
        stream = line.stream
        try:
            while stream is not None:
                await line.wake.wait()
                line.wake.clear()
                while line.waiting:
                    data = b"".join(line.waiting)
                    line.waiting.clear()
                    line.size = 0
                    await stream.write(data)
                if line.closing:
                    await stream.finish()
                    await asyncio.sleep(0.05)  # let the last words leave before the channel goes
                    break
        except WireError:
            pass
        self._over(line)

    async def _watch(self, line: Line) -> None:
        await line.channel.closed()
        self._over(line)
