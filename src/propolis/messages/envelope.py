"""The envelope around every control message, and the frame around the envelope (docs/specs/link.md).

Frame: u32 header length, header, raw body bytes. The header is one msgpack array, the envelope; the body is the
concatenation of the segments whose sizes the envelope lists, so tensors and ciphertext are never re-encoded. The header
is capped before it is read and the body is capped before it is waited for.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from propolis.messages import codec
from propolis.messages.attestation import AttestationMessage
from propolis.messages.jobs import JobMessage
from propolis.messages.membership import MembershipMessage
from propolis.terms.errors import MalformedMessage, TooLarge, VersionMismatch

VERSION = 2  # 2: a capability report tells what its probe found
MAX_HEADER = 64 * 1024
MAX_BODY = 16 * 1024 * 1024
MAX_SEGMENTS = 4096

Message = MembershipMessage | JobMessage | AttestationMessage
"""Everything that travels on a control stream."""

Segment = bytes | memoryview

Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Epoch = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What the link needs to know of a packet; `message` is None in a beat or a bare acknowledgement."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    epoch: Epoch  # the sender's incarnation towards this peer; never 0, which says "none" in `seen`
    seen: Counter  # the peer's incarnation as the sender knows it, 0 = none
    seq: Counter  # 1, 2, 3... within (epoch, seen); 0 = not sequenced
    ack: Counter  # the last seq taken from the peer, in order
    missing: Annotated[tuple[Counter, ...], msgspec.Meta(max_length=32)] = ()  # seqs after ack that did not come
    message: Message | None = None
    sizes: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_BODY)], ...], msgspec.Meta(max_length=MAX_SEGMENTS)
    ] = ()


class Packet(msgspec.Struct, frozen=True):
    """An envelope with its body segments."""

    envelope: Envelope
    body: tuple[Segment, ...] = ()


def pack(packet: Packet) -> list[Segment]:
    """Return the buffers to write, in order. Raises TooLarge for our own oversized packets."""
    header = codec.encode(packet.envelope)
    if len(header) > MAX_HEADER or sum(packet.envelope.sizes) > MAX_BODY:
        raise TooLarge("a packet is over the frame's bounds")
    return [len(header).to_bytes(4, "big") + header, *packet.body]


def envelope_of(header: bytes | memoryview) -> Envelope:
    """Decode and bound-check one header, its version first. Raises MalformedMessage, VersionMismatch."""
    try:
        envelope: Envelope = codec.decode(header, Envelope)
    except MalformedMessage:
        _own_version(_version_of(header))
        raise
    _own_version(envelope.version)
    if sum(envelope.sizes) > MAX_BODY:
        raise MalformedMessage("the promised body is over the bound")
    return envelope


def _version_of(header: bytes | memoryview) -> int:
    """Return the version of a header of which the rest may be unknown to us."""
    fields: list[msgspec.Raw] = codec.decode(header, list[msgspec.Raw])
    return codec.decode(fields[0], int) if fields else VERSION


def _own_version(version: int) -> None:
    if version != VERSION:
        raise VersionMismatch(
            f"the peer speaks version {version}, this is version {VERSION}: "
            f"update {'this one' if version > VERSION else 'the other one'}"
        )


class FrameReader:
    """Sans-IO: feed bytes as they come, take packets as they complete. Holds at most one frame beyond what it returns.

    A frame whose body is over `limit` (a stranger's is small) is passed over, and its body never held.
    """

    def __init__(self, limit: int = MAX_BODY) -> None:
        self.limit = limit
        self._passing = 0  # bytes still to come of a frame that is passed over
        self._buffer = bytearray()
        self._envelope: Envelope | None = None
        self._wanted = 4

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets completed by `data`. Raises MalformedMessage or VersionMismatch; then drop the reader."""
        passed = min(self._passing, len(data))
        self._passing -= passed
        self._buffer += data[passed:] if passed else data
        packets: list[Packet] = []
        while len(self._buffer) >= self._wanted:
            packet = self._step()
            if packet is not None:
                packets.append(packet)
        return packets

    def _step(self) -> Packet | None:
        if self._envelope is not None:
            body = self._take(self._wanted)
            envelope, self._envelope, self._wanted = self._envelope, None, 4
            return Packet(envelope, tuple(split(body, envelope.sizes)))
        if self._wanted == 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not 0 < length <= MAX_HEADER:
                raise MalformedMessage(f"a header of {length} bytes is out of bounds")
            self._wanted = 4 + length
            return None
        header = self._take(self._wanted)[4:]
        self._wanted = 4
        envelope = envelope_of(header)
        total = sum(envelope.sizes)
        if total == 0:
            return Packet(envelope, tuple(b"" for _ in envelope.sizes))
        if total > self.limit:
            self._passing = total - len(self._buffer[:total])
            del self._buffer[:total]
            return None
        self._envelope, self._wanted = envelope, total
        return None

    def _take(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:count])  # one copy; a slice of the buffer itself would make two
        del self._buffer[:count]
        return taken


def split(body: bytes, sizes: Iterable[int]) -> Iterable[Segment]:
    """Yield views of `body`, one per size."""
    view, start = memoryview(body), 0
    for size in sizes:
        yield view[start : start + size]
        start += size
