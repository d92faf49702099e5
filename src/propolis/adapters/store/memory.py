"""The stand-in store: a sorted view over a dict. It survives nothing but its own object, which the simulator keeps."""

from collections.abc import Iterable, Iterator, Sequence

from propolis.ports.store import Drop, Put, Write
from propolis.terms.errors import StoreFull


class MemoryStore:
    """Rows in memory. `capacity` in bytes, for tests of a full disk."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._capacity = capacity
        self._used = 0

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes or none."""
        growth = sum(len(write.value) for write in writes if isinstance(write, Put))
        if self._used + growth > self._capacity:
            raise StoreFull("the store has no room")
        for write in writes:
            rows = self._tables.setdefault(write.table, {})
            match write:
                case Put(key=key, value=value):
                    self._used += len(value) - len(rows.get(key, b""))
                    rows[bytes(key)] = bytes(value)
                case Drop(key=key):
                    self._used -= len(rows.pop(key, b""))
                case _:
                    for key in [key for key in rows if key.startswith(write.prefix)]:
                        self._used -= len(rows.pop(key))

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row's value."""
        return self._tables.get(table, {}).get(key)

    def get_many(self, table: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return several rows' values, in order."""
        rows = self._tables.get(table, {})
        return [rows.get(key) for key in keys]

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield rows in key order."""
        rows = self._tables.get(table, {})
        return iter(sorted((key, value) for key, value in rows.items() if key.startswith(prefix)))

    def sizes(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Yield keys and sizes in key order."""
        return ((key, len(value)) for key, value in self.scan(table, prefix))

    def room(self) -> int:
        """Return the bytes left."""
        return self._capacity - self._used

    def close(self) -> None:
        """Nothing to close."""
