"""Frames between a node's agent and its guests: u32 length, one type byte, payload. Both sides bound before they allocate."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

import msgspec

from propolis.messages import codec
from propolis.messages.jobs import Attempt, Code, Id16, Id32, Indices, Reason
from propolis.terms.capability import Isolation
from propolis.terms.errors import MalformedMessage
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


def frame(tag: Tag, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return (len(payload) + 1).to_bytes(4, "big") + bytes((tag,)) + payload


def batch_frame(tag: Tag, batch: Batch, bodies: Sequence[bytes | memoryview]) -> bytes:
    """Return a TASKS or RESULTS frame."""
    head = codec.encode(batch)
    return frame(tag, b"".join((len(head).to_bytes(4, "big"), head, *bodies)))


def open_batch(payload: bytes) -> tuple[Batch, list[memoryview]]:
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

    def feed(self, data: bytes) -> list[tuple[Tag, bytes]]:
        """Return the frames completed by `data`. Raises MalformedMessage."""
        self._buffer += data
        frames: list[tuple[Tag, bytes]] = []
        start = 0
        while len(self._buffer) - start >= 5:
            length = int.from_bytes(self._buffer[start : start + 4], "big")
            if not 1 <= length <= self._limit:
                raise MalformedMessage(f"a frame of {length} bytes is out of bounds")
            if len(self._buffer) - start < 4 + length:
                break
            tag = self._buffer[start + 4]
            if tag not in _TAGS:
                raise MalformedMessage(f"a frame of unknown type {tag}")
            frames.append((Tag(tag), bytes(self._buffer[start + 5 : start + 4 + length])))
            start += 4 + length
        if start:
            del self._buffer[:start]
        return frames
