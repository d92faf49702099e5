"""A vault as a folder: the file `vault`, a lock, and `objects/` with one file per stored version (docs/specs/vault.md, 1 and 13).

What was replaced is written beside, synced, renamed, and the folder synced: after a power cut there is the old file or the
new one. Object files are named by 16 random bytes in hex, and `.part` or `.gone` where they are on their way.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from propolis.adapters.vault import lock
from propolis.crypto.vault.state import MAX_STATE
from propolis.ports.vault import Stage
from propolis.terms.errors import StoreError, StoreFull, VaultDamaged
from propolis.terms.vault import ID_BYTES, ObjectId

STATE = "vault"
_BUFFER = 1 << 20
_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_SUFFIX = {Stage.PART: ".part", Stage.WHOLE: "", Stage.GONE: ".gone"}


class FileSource:
    """An open object file."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError."""
        self._path, self._file = path, _opened(path)
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        try:
            return self._file.read(size)
        except OSError as error:
            raise _told(self._path, error) from error

    def close(self) -> None:
        """Close."""
        self._file.close()


class FileFolder:
    """One vault's folder; made at the first write, for its user alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._objects = path / "objects"

    @property
    def where(self) -> str:
        """Its path."""
        return str(self._path)

    def state(self) -> bytes | None:
        """Return the state file."""
        try:
            with _opened(self._path / STATE) as file:
                data = file.read(MAX_STATE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _told(self._path / STATE, error) from error
        if len(data) > MAX_STATE:
            raise VaultDamaged(f"{self._path / STATE} is too large to be a vault's")
        return data

    def replace(self, data: bytes) -> None:
        """Replace the state file."""
        self._make()
        beside = self._path / f"{STATE}.new"
        try:
            _written(beside, [data])
            os.replace(beside, self._path / STATE)
            _sync(self._path)
        except OSError as error:
            raise _told(self._path / STATE, error) from error

    def locked(self, patience: float = 0.0) -> AbstractContextManager[None]:
        """Keep other writers out."""
        self._make()
        return lock.held(self._path / "lock", patience)

    def write(self, item: ObjectId, parts: Iterable[bytes]) -> None:
        """Write an object file, in stage PART."""
        self._make()
        path = self._at(item, Stage.PART)
        try:
            _written(path, parts)
            _sync(self._objects)
        except OSError as error:
            _gone(path)
            raise _told(path, error) from error
        except BaseException:
            _gone(path)
            raise

    def read(self, item: ObjectId) -> FileSource | None:
        """Open an object file."""
        for stage in (Stage.WHOLE, Stage.PART, Stage.GONE, Stage.WHOLE):  # the last: it moved while we looked
            path = self._at(item, stage)
            try:
                return FileSource(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _told(path, error) from error
        return None

    def move(self, items: Collection[ObjectId], before: Stage, after: Stage) -> None:
        """Move object files from stage to stage."""
        try:
            for item in items:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._at(item, before), self._at(item, after))
            if items:
                _sync(self._objects)
        except OSError as error:
            raise _told(self._objects, error) from error

    def drop(self, item: ObjectId, stage: Stage) -> None:
        """Delete an object file."""
        _gone(self._at(item, stage))

    def listing(self) -> set[tuple[ObjectId, Stage]]:
        """Return every object file; what has no name of ours is not ours and stays."""
        found = set()
        try:
            names = os.listdir(self._objects)
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise _told(self._objects, error) from error
        for name in names:
            bare, dot, suffix = name.partition(".")
            stage = next((stage for stage, word in _SUFFIX.items() if word == dot + suffix), None)
            if stage is not None and len(bare) == 2 * ID_BYTES and not set(bare) - set("0123456789abcdef"):
                found.add((ObjectId(bytes.fromhex(bare)), stage))
        return found

    def _at(self, item: ObjectId, stage: Stage) -> Path:
        if len(item) != ID_BYTES:
            raise StoreError("not an object's name")
        return self._objects / (item.hex() + _SUFFIX[stage])

    def _make(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._objects.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise _told(self._path, error) from error


def _opened(path: Path) -> BinaryIO:
    """Open a file to read. A pipe or a device in its place is refused, never waited for."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no file", str(path))
    return os.fdopen(descriptor, "rb")


def _written(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file: what lay there is left, never written through (a link may lead anywhere)."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
    with os.fdopen(os.open(path, flags, 0o600), "wb", buffering=_BUFFER) as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make renames durable. Windows opens no folder, and its file system keeps the order by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _gone(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is collected the next time
        path.unlink()


def _told(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"{path}: {error.strerror}")
    return StoreError(
        f"{path}: {error.strerror}", hint="look who owns the vault's folder, and whether its disk is well"
    )
