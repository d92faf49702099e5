"""The store: named tables of bytes under bytes keys, committed in batches. Journal order: write, then send.

Every implementation passes `propolis.testing.store`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec


class Put(msgspec.Struct, frozen=True):
    """Write one row."""

    table: str
    key: bytes
    value: bytes | memoryview


class Drop(msgspec.Struct, frozen=True):
    """Delete one row; no error when it is not there."""

    table: str
    key: bytes


class DropPrefix(msgspec.Struct, frozen=True):
    """Delete every row of a table whose key starts with `prefix`."""

    table: str
    prefix: bytes


Write = Put | Drop | DropPrefix


class Rows(Protocol):
    """Rows to read: what a party is rebuilt from after a restart. Each machine names its tables."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row's value."""
        ...

    def sizes(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Yield (key, size of the value in bytes) in key order, without reading values."""
        ...

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in key order."""
        ...


class Store(Rows, Protocol):
    """Durable rows. Table names are fixed by the house, never by a peer."""

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes, in order, or none; on return they survive a kill. Raises StoreFull, StoreError."""
        ...

    def get_many(self, table: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return several rows' values, in order."""
        ...

    def room(self) -> int:
        """Return the bytes still free for this store."""
        ...

    def close(self) -> None:
        """Close; idempotent."""
        ...
