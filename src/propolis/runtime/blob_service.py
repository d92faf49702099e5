"""Serving and fetching blobs over channels: the world around protocols/blobs/fetch. docs/specs/blob.md has the framing.

One stream per holder; requests are one length-prefixed word each, answers a u32 length and raw bytes, 2^32-1 for "have not".
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from propolis.messages import codec
from propolis.messages.blobs import CHUNK, MAX_ANSWER, MAX_CHUNKS, MAX_WORD, ChunkWanted, ManifestWanted, Wanted
from propolis.ports.blobs import Blobs
from propolis.ports.wire import Channel, Stream
from propolis.protocols.blobs import fetch as f
from propolis.protocols.machine import Action, Event, TimePassed
from propolis.runtime.line import BLOB
from propolis.terms.contact import Contact
from propolis.terms.errors import MalformedMessage, PeerUnreachable, StoreError, WireError
from propolis.terms.identity import BlobId, NodeId
from propolis.terms.job import BlobRef
from propolis.terms.time import Instant

log = logging.getLogger(__name__)

_NONE = 0xFFFFFFFF
AGAIN_SECONDS = (0.2, 1.0)
IDLE_SECONDS = 30.0
ANSWER_SECONDS = 120.0
"""What a peer may take to read one answer: a chunk over a line of 75 kbit/s."""

MAX_MANIFEST = 34 * MAX_CHUNKS + 64

Reach = Callable[[Contact], AbstractAsyncContextManager[Channel]]
MayRead = Callable[[NodeId, BlobId], bool]


async def _exactly(stream: Stream, size: int, seconds: float) -> bytes:
    parts: list[bytes] = []
    while size:
        async with asyncio.timeout(seconds):
            part = await stream.read(size)
        if not part:
            raise PeerUnreachable("the stream ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class BlobService:
    """One party's blobs, served to those who may read them and fetched from those who hold them."""

    def __init__(self, blobs: Blobs, reach: Reach, may_read: MayRead) -> None:
        self.blobs = blobs
        self.reach = reach
        self._may_read = may_read
        self._fetching: dict[BlobId, asyncio.Task[None]] = {}

    async def serve(self, peer: NodeId, stream: Stream) -> None:
        """Answer a peer's requests until it ends the stream. Raises WireError."""
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                head = await stream.read(4)
            if not head:
                await stream.finish()
                return
            head += await _exactly(stream, 4 - len(head), IDLE_SECONDS)
            length = int.from_bytes(head, "big")
            if length > MAX_WORD:
                raise MalformedMessage("a request over the bound")
            wanted: Wanted = codec.decode(await _exactly(stream, length, IDLE_SECONDS), Wanted)
            allowed = self._may_read(peer, BlobId(wanted.blob))
            data = await asyncio.to_thread(self._answer, wanted) if allowed else None
            answer = _NONE.to_bytes(4, "big") if data is None else len(data).to_bytes(4, "big") + data
            async with asyncio.timeout(ANSWER_SECONDS):
                await stream.write(answer)

    def _answer(self, wanted: Wanted) -> bytes | None:
        match wanted:
            case ManifestWanted(blob=blob):
                return self.blobs.manifest(BlobId(blob))
            case ChunkWanted(blob=blob, number=number):
                return self.blobs.read(BlobId(blob), number)

    async def fetch(self, ref: BlobRef, holders: Sequence[Contact]) -> None:
        """Bring a blob here, whole. Concurrent calls for one blob share the work. Raises StoreError, PeerUnreachable."""
        task = self._fetching.get(ref.id)
        if task is None:
            task = self._fetching[ref.id] = asyncio.create_task(_Fetch(self, ref, holders).run())
            task.add_done_callback(lambda _: self._fetching.pop(ref.id, None))
        await asyncio.shield(task)

    def pieces(self, ref: BlobRef) -> "Whole":
        """Return a whole blob, to be read a chunk at a time. Raises StoreError when a chunk is not there."""
        if self.blobs.chunks(ref.id) != set(range(-(-ref.size // CHUNK))):
            raise StoreError("the program is not whole here")
        return Whole(self.blobs, ref)


class Whole:
    """A blob of ours in pieces: one chunk of it is in memory at a time, and the disk is waited for beside the event loop."""

    def __init__(self, blobs: Blobs, ref: BlobRef) -> None:
        self._blobs = blobs
        self._ref = ref

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._ref.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks in order. Raises StoreError when one is not there, or not as long as it should be."""
        for number, start in enumerate(range(0, self._ref.size, CHUNK)):
            chunk = await asyncio.to_thread(self._blobs.read, self._ref.id, number)
            if chunk is None or len(chunk) != min(CHUNK, self._ref.size - start):
                raise StoreError("the program is not whole here")
            yield chunk


class _Fetch:
    """One fetch at work."""

    def __init__(self, service: BlobService, ref: BlobRef, holders: Sequence[Contact]) -> None:
        self._service = service
        self._ref = ref
        self._contacts = holders
        blobs = service.blobs
        known = (blobs.manifest(ref.id), blobs.chunks(ref.id))
        self._machine = f.BlobFetch(ref, *known, [contact.id for contact in holders])
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._asks: dict[NodeId, asyncio.Queue[f.AskManifest | f.AskChunk]] = {}
        self._result: str | None = None

    async def run(self) -> None:
        workers = [asyncio.create_task(self._holder(contact)) for contact in self._contacts]
        self._events.put_nowait(TimePassed())
        try:
            while self._result is None:
                event = await self._next()
                for action in self._machine.handle(event, Instant(time.monotonic())):
                    self._do(action)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if self._result:
            raise PeerUnreachable(self._result)

    async def _next(self) -> Event:
        due = self._machine.deadline()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return TimePassed()

    def _do(self, action: Action) -> None:
        blobs = self._service.blobs
        match action:
            case f.AskManifest(holder=holder) | f.AskChunk(holder=holder):
                self._asks[holder].put_nowait(action)
            case f.KeepManifest(data=data):
                blobs.keep_manifest(self._ref.id, data)
            case f.KeepChunk(number=number, data=data):
                blobs.write(self._ref.id, number, data)
            case f.Finished():
                self._result = ""
            case f.Failed(reason=reason):
                self._result = reason
            case _:
                pass

    async def _holder(self, contact: Contact) -> None:
        """Ask one holder, a request at a time on the stream with up to four queued, until it fails.

        One that was not told of us yet hangs up at first; it is tried again before it counts as lost.
        """
        peer = contact.id
        self._asks[peer] = asyncio.Queue()
        for pause in (0.0, *AGAIN_SECONDS):
            await asyncio.sleep(pause)
            try:
                async with self._service.reach(contact) as channel:
                    if await self._visit(channel, peer):
                        break
            except (WireError, TimeoutError) as error:
                log.debug("holder %s: %s", peer[:4].hex(), error)
        self._events.put_nowait(f.HolderLost(peer))

    async def _visit(self, channel: Channel, peer: NodeId) -> bool:
        """Ask on a stream of this fetch's own, and give it back: a line that lives on has room for few."""
        stream = await channel.open_stream()
        try:
            async with asyncio.timeout(IDLE_SECONDS):  # a peer may open a stream and take nothing on it
                await stream.write(BLOB)
            return await self._ask_on(stream, peer)
        finally:
            await stream.reset()

    async def _ask_on(self, stream: Stream, peer: NodeId) -> bool:
        """Put what is wanted of this holder to it until it fails. Returns whether it ever answered."""
        asks, answered = self._asks[peer], False
        self._events.put_nowait(f.HolderFound(peer))
        try:
            while True:
                ask = await asks.get()
                try:
                    await self._ask(stream, peer, ask)
                except (WireError, TimeoutError):
                    asks.put_nowait(ask)
                    raise
                answered = True
        except (WireError, TimeoutError):
            return answered

    async def _ask(self, stream: Stream, peer: NodeId, ask: f.AskManifest | f.AskChunk) -> None:
        chunk = isinstance(ask, f.AskChunk)
        wanted: Wanted = ManifestWanted(blob=self._ref.blob)
        if isinstance(ask, f.AskChunk):
            wanted = ChunkWanted(blob=self._ref.blob, number=ask.number)
        word = codec.encode(wanted)
        await stream.write(len(word).to_bytes(4, "big") + word)
        length = int.from_bytes(await _exactly(stream, 4, IDLE_SECONDS), "big")
        data: bytes | None = None
        if length != _NONE:
            if length > (MAX_ANSWER if chunk else MAX_MANIFEST):
                raise MalformedMessage("an answer over the bound")
            data = await _exactly(stream, length, IDLE_SECONDS)
        if isinstance(ask, f.AskChunk):
            self._events.put_nowait(f.ChunkArrived(peer, ask.number, data))
        else:
            self._events.put_nowait(f.ManifestArrived(peer, data))
