"""Nouns of the vault: what a sealed key demands, what a TPM shows, what is stored under a name (docs/specs/vault.md)."""

from collections.abc import Mapping
from typing import Annotated, NewType

import msgspec

VaultId = NewType("VaultId", bytes)
ObjectId = NewType("ObjectId", bytes)

ID_BYTES = 16
KEY_BYTES = 32
MAX_NAME_BYTES = 255  # of a stored name, in UTF-8
MAX_KEPT = 1000  # versions of one name
MAX_APPROVALS = 4  # states of a machine that open one vault: two systems, each before and after an update

Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Point = Annotated[bytes, msgspec.Meta(min_length=65, max_length=65)]
Register = Annotated[int, msgspec.Meta(ge=0, le=23)]
U32 = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
U63 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Approval(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """PCR values (SHA-256 bank, ascending) that the admin key signed: r and s of P-256, 32 bytes each."""

    values: Annotated[tuple[tuple[Register, Bytes32], ...], msgspec.Meta(min_length=1, max_length=24)]
    signature: Bytes64


class Conditions(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the TPM demands before it gives a key out (step 6). `counter` 0 = no epoch counter; `limit` its most."""

    admin: Point
    ref: Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]
    counter: U32
    limit: U63
    pin: bool


class SealedKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A sealed object outside its TPM: contents of TPM2B_PRIVATE and TPM2B_PUBLIC."""

    private: Annotated[bytes, msgspec.Meta(max_length=1024)]
    public: Annotated[bytes, msgspec.Meta(max_length=512)]


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """What a TPM shows before anything is asked of it.

    `storage` is the storage key's TPMT_PUBLIC; `counts` has the counters that exist; `emulated`: it says that it is no chip.
    """

    storage: bytes
    manufacturer: str
    emulated: bool
    registers: Mapping[int, bytes]
    counts: Mapping[int, int]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a stored name: plain bytes and when it was put (seconds since 1970, the writer's clock)."""

    name: str
    version: int
    size: int
    at: int
    object: ObjectId
