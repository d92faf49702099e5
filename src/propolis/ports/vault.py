"""What a vault asks of the world: a folder that keeps its files, and a chip that keeps its key.

Implementations pass `propolis.testing.vault`. Calls block; a chip's may take seconds.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol

from propolis.terms.vault import Approval, Chip, Conditions, ObjectId, SealedKey


class Stage(Enum):
    """Where an object file stands: being put, in place, being removed. Only the first and the last are ever collected."""

    PART = "part"
    WHOLE = "whole"
    GONE = "gone"


class Source(Protocol):
    """An open object file."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end. Raises StoreError."""
        ...

    def close(self) -> None:
        """Close; idempotent."""
        ...


class Folder(Protocol):
    """A vault's files. What a method returned from survives a power cut, unless it says otherwise."""

    @property
    def where(self) -> str:
        """Where it is, for people."""
        ...

    def state(self) -> bytes | None:
        """Return the state file, None where there is none. Raises StoreError, VaultDamaged over its bound."""
        ...

    def replace(self, data: bytes) -> None:
        """Replace the state file whole or not at all. Raises StoreFull, StoreError."""
        ...

    def locked(self, patience: float = 0.0) -> AbstractContextManager[None]:
        """Keep other writers out meanwhile. Raises ConfigError when one is still at work after so many seconds."""
        ...

    def write(self, item: ObjectId, parts: Iterable[bytes]) -> None:
        """Write an object file, in stage PART; nothing of it stays when it fails. Raises StoreFull, StoreError."""
        ...

    def read(self, item: ObjectId) -> Source | None:
        """Open an object file, in whatever stage it is; None where there is none. Raises StoreError."""
        ...

    def move(self, items: Collection[ObjectId], before: Stage, after: Stage) -> None:
        """Move object files from stage to stage; those that are not there are left out. Raises StoreError."""
        ...

    def drop(self, item: ObjectId, stage: Stage) -> None:
        """Delete an object file; it may come back after a power cut. No error when it is not there."""
        ...

    def listing(self) -> set[tuple[ObjectId, Stage]]:
        """Return every object file. Raises StoreError."""
        ...


class ChipHome(Protocol):
    """A TPM, for the vault's key. Every call opens it, does one thing and gives it back. All raise TpmError."""

    def look(self, registers: Sequence[int], counters: Sequence[int]) -> Chip:
        """Return what it shows; counters that are not there are left out."""
        ...

    def seal(self, key: bytes, pinned: bytes, policy: bytes, auth: bytes) -> SealedKey:
        """Seal up to 128 bytes under a policy and, where it is not empty, an auth value that the TPM counts guesses at."""
        ...

    def unseal(self, sealed: SealedKey, pinned: bytes, asked: Conditions, approval: Approval, auth: bytes) -> bytes:
        """Return what is sealed; `pinned` is the storage key of the header."""
        ...

    def define(self, pinned: bytes) -> tuple[int, int]:
        """Make a counter and return (its index, its value): above any counter that this TPM ever had."""
        ...

    def increment(self, counter: int) -> int:
        """Count up by one, for ever, and return the new value."""
        ...

    def undefine(self, counter: int) -> None:
        """Remove a counter; no error when it is not there."""
        ...
