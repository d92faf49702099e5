"""Frames between a node's agent and its guests: u32 length, one type byte, payload. Both sides bound before they allocate."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

import msgspec

from propolis.messages import codec
from propolis.messages.jobs import Attempt, Code, Indices, Reason
from propolis.terms.capability import Isolation
from propolis.terms.errors import MalformedMessage
from propolis.terms.identity import Id16, Id32
from propolis.terms.job import MAX_MEMORY_MB, Kind

MAX_FRAME = 64 * 1024 * 1024
PIECE = 1024 * 1024
MOST_MS = 1e9  # of one task: eleven days


class Tag(IntEnum):
    """What a frame carries."""

    ORDER = 1  # agent: who you are for
    GRANT = 2  # agent: the owner's sealed grant
    PIECE = 3  # agent: a piece of the sealed program
    LOAD = 4  # agent: the program is whole
    TASKS = 5  # agent: sealed inputs
    KEY = 16  # guest: my key and my isolation
    GRANTED = 17
    LOADED = 18  # guest: I take tasks; isolation again, now with the lock
    RESULTS = 19  # guest: sealed results
    BROKEN = 20  # guest: what you gave me does not open


class Order(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Who the guest serves and its limits."""

    job: Id16
    guest: Id16
    kind: Kind
    memory_mb: Annotated[int, msgspec.Meta(ge=0, le=MAX_MEMORY_MB)]


class Born(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The guest's ephemeral public key and the isolation it runs under."""

    key: Id32
    isolation: Isolation


class Loaded(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The isolation the guest computes under, now that its program is in."""

    isolation: Isolation


class Broken(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A typed complaint: code and text, never a byte of what did not open. `index`, `attempt` of the task, or -1."""

    code: Code
    reason: Reason
    index: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] = -1
    attempt: Annotated[int, msgspec.Meta(ge=-1, le=2**62)] = -1


class Batch(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The head of TASKS and RESULTS; the body is the concatenation of `sizes` bytes."""

    indices: Indices
    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=4096)]
    sizes: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=MAX_FRAME)], ...], msgspec.Meta(max_length=4096)]
    milliseconds: Annotated[
        tuple[Annotated[float, msgspec.Meta(ge=0, le=MOST_MS)], ...], msgspec.Meta(max_length=4096)
    ] = ()


_TAGS = frozenset(Tag)


def other_kind(program: Kind, order: Kind) -> str:
    """Return how a guest complains of a program of another kind than it was ordered for."""
    return f"the program is for {program.value}, the order for {order.value}"


COMPLAINTS = frozenset(other_kind(program, order) for program in Kind for order in Kind)
"""The complaints that are passed on of a guest that holds a key: it may be its program that speaks, of what it was given."""


Segment = bytes | memoryview
"""Of a frame: its pieces are written in turn, so that large bodies are never copied together."""


def frame(tag: Tag, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return (len(payload) + 1).to_bytes(4, "big") + bytes((tag,)) + payload


def piece_frame(piece: Segment) -> list[Segment]:
    """Return a PIECE frame as the segments to write."""
    return [(len(piece) + 1).to_bytes(4, "big") + bytes((Tag.PIECE,)), piece]


def batch_segments(tag: Tag, batch: Batch, bodies: Sequence[Segment]) -> list[Segment]:
    """Return a TASKS or RESULTS frame as the segments to write."""
    head = codec.encode(batch)
    size = 5 + len(head) + sum(map(len, bodies))
    first = size.to_bytes(4, "big") + bytes((tag,)) + len(head).to_bytes(4, "big") + head
    return [first, *bodies]


def batch_frame(tag: Tag, batch: Batch, bodies: Sequence[Segment]) -> bytes:
    """Return a TASKS or RESULTS frame in one piece."""
    return b"".join(batch_segments(tag, batch, bodies))


def open_batch(payload: Segment) -> tuple[Batch, list[memoryview]]:
    """Return head and bodies. Raises MalformedMessage."""
    length = int.from_bytes(payload[:4], "big")
    batch: Batch = codec.decode(payload[4 : 4 + length], Batch)
    if not len(batch.indices) == len(batch.attempts) == len(batch.sizes):
        raise MalformedMessage("a batch that does not agree with itself")
    view, start, bodies = memoryview(payload), 4 + length, []
    for size in batch.sizes:
        bodies.append(view[start : start + size])
        start += size
    if start != len(payload):
        raise MalformedMessage("a batch whose sizes do not add up")
    return batch, bodies


class Frames:
    """Sans-IO reader of frames."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Tag, Segment]]:
        """Return the frames completed by `data`. Raises MalformedMessage.

        A frame that ends where the data ends is handed over as a view of what was gathered, without a copy.
        """
        self._buffer += data
        frames: list[tuple[Tag, Segment]] = []
        start = 0
        while (length := self._complete(start)) is not None:
            tag = self._buffer[start + 4]
            if tag not in _TAGS:
                raise MalformedMessage(f"a frame of unknown type {tag}")
            end = start + 4 + length
            view = memoryview(self._buffer)[start + 5 : end]
            if end == len(self._buffer):
                self._buffer, start = bytearray(), 0
                frames.append((Tag(tag), view))
                return frames
            frames.append((Tag(tag), bytes(view)))
            view.release()
            start = end
        if start:
            del self._buffer[:start]
        return frames

    def _complete(self, start: int) -> int | None:
        """Return the length of the frame at `start` if all of it is here. Raises MalformedMessage."""
        here = len(self._buffer) - start
        if here < 4:
            return None
        length = int.from_bytes(self._buffer[start : start + 4], "big")
        if not 1 <= length <= self._limit:
            raise MalformedMessage(f"a frame of {length} bytes is out of bounds")
        return length if here >= 4 + length else None
