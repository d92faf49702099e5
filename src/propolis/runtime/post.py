"""The post office: carries a party's packets over the wire port, and turns what arrives into events.

Per peer one line (the newest wins), a channel with one control stream opened by the dialler (runtime/door.py meets those who
come to us). A round's packets to one peer leave in one write. Bounded: bytes waiting per peer, channels in all. A peer that
sends what is not a frame loses its channel.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from propolis.messages.envelope import MAX_BODY, FrameReader, Packet, pack
from propolis.ports.store import Store
from propolis.ports.wire import DIAL_SECONDS, MAX_DATAGRAM, Channel, Wire
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
from propolis.runtime import dialling
from propolis.runtime.door import Door
from propolis.runtime.line import BLOB, CONTROL, FIRST_WORD_SECONDS, Line, OnBlob
from propolis.runtime.sparing import Sparing
from propolis.terms.address import dialable
from propolis.terms.contact import Contact
from propolis.terms.errors import MalformedMessage, PeerUnreachable, TooLarge, VersionMismatch, WireError
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024
MAX_WAITING = 64 * 1024 * 1024
MAX_CHANNELS = 20_000
MAX_REASONS = 16


class Post:
    """The lines of one party."""

    def __init__(self, wires: Sequence[Wire], store: Store, on_event: Callable[[Event], None]) -> None:
        """`wires`: each dials the addresses of its scheme; the first goes first, and the next where it gets no answer."""
        self._wires = tuple(wires)
        self._store = store
        self._event = on_event
        self._strange = Sparing(log)  # any stranger can make us say it
        self._on_blob: OnBlob | None = None
        self._limit: Callable[[NodeId], int] = lambda _: MAX_BODY
        self._door = Door(self._settle, self._room, None)
        self._lines: dict[NodeId, Line] = {}
        self._dials: set[asyncio.Task[None]] = set()
        self._dirty: set[NodeId] = set()
        self._ours: dict[NodeId, Contact] = {}  # whom our party itself dials, as its settings say
        self._way: dict[NodeId, Wire] = {}
        self._failed: dict[NodeId, set[str]] = {}  # why dials failed since the peer was last reached

    def serve_blobs(self, on_blob: OnBlob, *, visitors: bool = False) -> None:
        """Hand peers' blob streams to this; before `start`. `visitors`: also of peers that come for nothing else."""
        self._on_blob = on_blob
        self._door = Door(self._settle, self._room, on_blob if visitors else None)

    def limit_bodies(self, limit: Callable[[NodeId], int]) -> None:
        """Ask this how large a body a peer's frame may have; larger ones are passed over, never held."""
        self._limit = limit

    def start(self) -> None:
        """Begin to accept channels."""
        for wire in self._wires:
            self._door.open(wire)

    async def stop(self, *, keep_wires: bool = False) -> None:
        """Close every line and, unless another post goes on with them, the wires."""
        await self._door.close()
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, *(line.end() for line in self._lines.values()), return_exceptions=True)
        self._lines.clear()
        for wire in () if keep_wires else self._wires:
            await wire.close()

    def _room(self) -> bool:
        return len(self._lines) < MAX_CHANNELS

    @contextlib.asynccontextmanager
    async def reach(self, contact: Contact) -> AsyncIterator[Channel]:
        """Lend the open channel to a peer, or dial one for the while. Raises PeerUnreachable.

        Who is not one of ours to dial (the orchestrator) was told us by somebody: only bare literal addresses are dialled,
        and none nearer than the way to our own leads (docs/specs/membership.md, rule 8).
        """
        line = self._lines.get(contact.id)
        if line is not None:
            yield line.channel
            return
        if contact.id not in self._ours:
            ways = dialable(contact.addresses, [a for ours in self._ours.values() for a in ours.addresses])
            if not ways:
                raise PeerUnreachable("no address that may be dialled was told of this peer")
            contact = Contact(peer=contact.peer, addresses=ways)
        channel, _ = await dialling.dial(self._wires, contact)
        try:
            yield channel
        finally:
            await channel.close()

    # -- actions

    def dial(self, action: Dial) -> None:
        """Open a channel; answered by an event."""
        self._ours[action.contact.id] = action.contact
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
                self._strange.warn("%s does not read; its channel is closed", peer[:4].hex())
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
        channel: Channel | None = None
        try:
            async with asyncio.timeout(DIAL_SECONDS):  # all of it: the channel, its control stream, our first byte
                channel, wire = await dialling.dial(self._wires, contact)
                stream = await channel.open_stream()
                await stream.write(CONTROL)
        except (WireError, TimeoutError) as error:
            reason = str(error) or f"nobody answered at {', '.join(contact.addresses)} within {DIAL_SECONDS:g} s"
            self._log_failed(contact.id, reason)
            if channel is not None:
                await channel.close()
            self._event(DialFailed(contact.id, reason))
            return
        self._log_way(contact, wire)
        line = Line(channel, ours=True)
        line.stream = stream
        self._settle(line)

    def _log_way(self, contact: Contact, wire: Wire) -> None:
        """Say which way a peer was reached where there are several, once per change."""
        several = dialling.ways(self._wires, contact)
        if len(several) > 1 and self._way.get(contact.id) is not wire:
            self._way[contact.id] = wire
            first = wire is several[0]
            way = ", ".join(dialling.addresses_for(wire, contact))
            said = "reached at %s" if first else "reached at %s: what stands before it does not answer"
            log.log(logging.INFO if first else logging.WARNING, said, way)

    def _log_failed(self, peer: NodeId, reason: str) -> None:
        """A dial is tried every few seconds, for ever: each reason is worth a warning once."""
        reasons = self._failed.setdefault(peer, set())
        fresh = reason not in reasons and len(reasons) < MAX_REASONS
        log.log(logging.WARNING if fresh else logging.DEBUG, "not reached, trying again: %s", reason)
        if fresh:
            reasons.add(reason)

    def _settle(self, line: Line) -> None:
        """The line has its control stream: it is the peer's line from now on."""
        peer = line.channel.peer
        self._failed.pop(peer, None)
        old = self._lines.get(peer)
        self._lines[peer] = line
        if old is not None:
            self._event(ChannelClosed(peer))
            self._end(old)
        line.run(self._read(line), self._write(line), self._datagrams(line), self._watch(line), self._streams(line))
        self._event(ChannelOpened(peer, line.ours, line.channel.observed))

    def _end(self, line: Line) -> None:
        closing = asyncio.create_task(line.end())
        self._dials.add(closing)
        closing.add_done_callback(self._dials.discard)

    def _over(self, line: Line, reason: str = "") -> None:
        peer = line.channel.peer
        if self._lines.get(peer) is line:
            del self._lines[peer]
            self._event(ChannelClosed(peer, reason))
        self._end(line)

    async def _streams(self, line: Line) -> None:
        """Take the peer's streams: the first byte says what each is for."""
        while True:
            try:
                stream = await line.channel.accept_stream()
            except WireError:
                return
            kind = b""
            with contextlib.suppress(WireError, TimeoutError):  # it was given up, or says nothing: others may come
                async with asyncio.timeout(FIRST_WORD_SECONDS):
                    kind = await stream.read(1)
            if kind == BLOB and self._on_blob is not None:
                line.lend(self._on_blob, stream)
            else:
                await stream.reset()

    # -- bytes

    async def _read(self, line: Line) -> None:
        reader, peer, stream = FrameReader(), line.channel.peer, line.stream
        try:
            while stream is not None:
                data = await stream.read(READ_BYTES)
                if not data:
                    break
                reader.limit = self._limit(peer)
                for packet in reader.feed(data):
                    self._event(PacketArrived(peer, packet))
        except VersionMismatch as error:
            self._strange.warn("%s: %s", peer[:4].hex(), error)
            self._over(line, str(error))
        except MalformedMessage as error:
            self._strange.warn("%s: %s", peer[:4].hex(), error)
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
                self._strange.warn("%s: %s", peer[:4].hex(), error)
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
