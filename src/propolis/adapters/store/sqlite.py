"""Durable rows in one SQLite file, WAL mode, one writer. What was committed survives a kill -9 of the process.

synchronous=NORMAL: a commit survives the process at once and a power cut up to the last checkpointed or synced WAL page;
the file is never corrupt either way (sqlite.org/pragma.html#pragma_synchronous). `durable=True` syncs at each commit.
Why the orchestrator does without and owners do not: docs/adr/0013-who-syncs.md.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from propolis.ports.store import Drop, DropPrefix, Put, Write
from propolis.terms.errors import ConfigError, StoreError, StoreFull

FORMAT = 2
"""Of the rows of every table: raised by whoever changes what a kept record looks like."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS rows (tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (tbl, key))"
)

_LOG_BYTES = 32 * 1024 * 1024  # twice what SQLite lets the log grow to before it copies it back


class SqliteStore:
    """One state folder's rows; holds the file for itself."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Open or create. Raises ConfigError when another process holds it, StoreError when it is not readable."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
            self._db.execute(
                "PRAGMA page_size=16384"
            )  # rows are sealed inputs, often 64 kB: fewer pages, a tenth less CPU
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            self._stamp()
            self._db.execute(_SCHEMA)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ConfigError(f"{path} is in use by another process; stop it, or choose another home") from error
            raise StoreError(f"{path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} is not a readable store ({error}); move it away to start afresh") from error

    def _stamp(self) -> None:
        """Mark a fresh file with the format of its rows; refuse one of another format (docs/specs/evolution.md, step 3)."""
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found == FORMAT:
            return
        fresh = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if not fresh:
            self._db.close()
            raise StoreError(
                f"{self._path} holds rows of format {found}, this version reads {FORMAT}; "
                "use the version of Propolis that wrote it, or move the file away to start afresh"
            )
        self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def commit(self, writes: Sequence[Write]) -> None:
        """Apply all writes in order, or none. Raises StoreFull, StoreError."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for write in writes:
                self._apply(write)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if "full" in str(error) or "disk I/O" in str(error):
                raise StoreFull(f"{self._path}: {error}") from error
            raise StoreError(f"{self._path}: {error}") from error

    def _apply(self, write: Write) -> None:
        match write:
            case Put(table=table, key=key, value=value):
                self._db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (table, key, value))
            case Drop(table=table, key=key):
                self._db.execute("DELETE FROM rows WHERE tbl=? AND key=?", (table, key))
            case DropPrefix(table=table, prefix=prefix):
                self._db.execute("DELETE FROM rows WHERE tbl=? AND key BETWEEN ? AND ?", (table, *_bounds(prefix)))

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return one row's value."""
        row = self._db.execute("SELECT value FROM rows WHERE tbl=? AND key=?", (table, key)).fetchone()
        return row[0] if row else None

    def get_many(self, table: str, keys: Iterable[bytes]) -> list[bytes | None]:
        """Return several rows' values, in order."""
        return [self.get(table, key) for key in keys]

    def scan(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield rows in key order."""
        query = "SELECT key, value FROM rows WHERE tbl=? AND key BETWEEN ? AND ? ORDER BY key"
        yield from self._db.execute(query, (table, *_bounds(prefix)))

    def sizes(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Yield keys and sizes in key order."""
        query = "SELECT key, length(value) FROM rows WHERE tbl=? AND key BETWEEN ? AND ? ORDER BY key"
        yield from self._db.execute(query, (table, *_bounds(prefix)))

    def room(self) -> int:
        """Return the bytes that rows may still take: on the file system and within the file, with pages free inside it.

        Also those need the write-ahead log to grow: where the disk has no room for that, they are no room.
        """
        free = shutil.disk_usage(self._path.parent).free
        if free < _LOG_BYTES:
            return free
        size, count, most, unused = (
            int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "max_page_count", "freelist_count")
        )
        return min(free, (most - count) * size) + unused * size

    def close(self) -> None:
        """Close; idempotent."""
        self._db.close()


def _bounds(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the closed range of keys that start with `prefix`; no key of ours is longer than 64 bytes."""
    return prefix, prefix + b"\xff" * 64
