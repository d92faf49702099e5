"""Names of things: each kind of id has a type of its own, so that one cannot stand in for another.

Ids are bytes on the wire and in memory; `short` makes them readable for people.
"""

from typing import Annotated, NewType

import msgspec

NodeId = NewType("NodeId", bytes)
"""32 bytes: the raw Ed25519 public key of a node, an owner or an orchestrator. Identity IS the key."""

JobId = NewType("JobId", bytes)
"""16 random bytes, drawn by the owner."""

GuestId = NewType("GuestId", bytes)
"""16 bytes, drawn by the orchestrator for one guest (one sandboxed process serving one job). No secret rests on it."""

BlobId = NewType("BlobId", bytes)
"""32 bytes: BLAKE3 of a blob's manifest; names ciphertext, never plaintext."""

AttemptId = NewType("AttemptId", int)
"""Unique within a job, across restarts of the orchestrator (its boot epoch is in the high bits)."""

Id16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Id32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""Ids as fields of a record: their length is checked where bytes become one."""

Ticket = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""The asker's own number of a question; the answer bears it."""

NODE_ID_BYTES = 32
JOB_ID_BYTES = 16
GUEST_ID_BYTES = 16
BLOB_ID_BYTES = 32


def short(identity: bytes) -> str:
    """Return the first eight hex digits: enough for a person to tell two ids apart, never enough to trust one."""
    return identity[:4].hex()
