"""The stand-in folder: a vault's files in memory, and a power cut before any of its steps (`cut_after`)."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from propolis.ports.vault import Stage
from propolis.terms.errors import ConfigError, StoreError
from propolis.terms.vault import ObjectId


class PowerCut(BaseException):
    """The machine is off: no `except Exception` and no clean-up of ours runs after it."""


class MemorySource:
    """An open object."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.size = len(data)

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        self._at += size
        return self._data[self._at - size : self._at]

    def close(self) -> None:
        """Nothing to close."""


class MemoryFolder:
    """Files in two dicts. Each step is durable when it returns; `cut_after` steps from now the power goes."""

    where = "memory"

    def __init__(self) -> None:
        self.kept: bytes | None = None
        self.files: dict[tuple[ObjectId, Stage], bytes] = {}
        self.cut_after: int | None = None
        self._held = False

    def step(self) -> None:
        """Count one durable step, or be cut before it."""
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                raise PowerCut

    def state(self) -> bytes | None:
        """Return the state file."""
        return self.kept

    def replace(self, data: bytes) -> None:
        """Replace the state file."""
        self.step()
        self.kept = data

    @contextmanager
    def locked(self, patience: float = 0.0) -> Iterator[None]:
        """Keep other writers out; none of them could end while we wait."""
        if self._held:
            raise ConfigError("another process writes to the vault")
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def write(self, item: ObjectId, parts: Iterable[bytes]) -> None:
        """Write an object file, in stage PART."""
        if len(item) != 16:
            raise StoreError("not an object's name")
        self.step()
        self.files[item, Stage.PART] = b""
        try:
            data = b"".join(parts)
        except PowerCut:
            raise
        except BaseException:
            self.files.pop((item, Stage.PART))
            raise
        self.step()
        self.files[item, Stage.PART] = data

    def read(self, item: ObjectId) -> MemorySource | None:
        """Open an object file."""
        for stage in Stage:
            if (item, stage) in self.files:
                return MemorySource(self.files[item, stage])
        return None

    def move(self, items: Collection[ObjectId], before: Stage, after: Stage) -> None:
        """Move object files from stage to stage."""
        for item in items:
            if (item, before) in self.files:
                self.step()
                self.files[item, after] = self.files.pop((item, before))

    def drop(self, item: ObjectId, stage: Stage) -> None:
        """Delete an object file."""
        self.step()
        self.files.pop((item, stage), None)

    def listing(self) -> set[tuple[ObjectId, Stage]]:
        """Return every object file."""
        return set(self.files)
