"""Blobs as files: one folder per blob, one file per chunk, written beside and renamed, so a crash leaves whole chunks only."""

import itertools
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from propolis.messages import codec
from propolis.messages.blobs import CHUNK, Manifest, chunk_name, ref_of
from propolis.terms.errors import StoreError, StoreFull
from propolis.terms.identity import BLOB_ID_BYTES, BlobId
from propolis.terms.job import BlobRef

RESERVE = 256 * 1024 * 1024
"""Bytes of disk never used for blobs: journals need room to the last."""


class FileBlobs:
    """Blobs under one folder."""

    def __init__(self, folder: Path, *, reserve: int = RESERVE) -> None:
        self._folder = folder
        self._reserve = reserve
        self._puts = itertools.count()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(".put.*"):  # of a process that ended in the midst of it
            if not left.name.startswith(f".put.{os.getpid()}."):
                shutil.rmtree(left, ignore_errors=True)

    def _path(self, blob: BlobId) -> Path:
        """Return the blob's folder: only 32 raw bytes become a name, as hex."""
        if len(blob) != BLOB_ID_BYTES:
            raise StoreError("not a blob's name")
        return self._folder / bytes(blob).hex()

    def manifest(self, blob: BlobId) -> bytes | None:
        """Return the manifest's exact bytes, or None."""
        return _read(self._path(blob) / "manifest")

    def keep_manifest(self, blob: BlobId, data: bytes) -> None:
        """Keep a verified manifest."""
        self._write(self._path(blob), "manifest", data)

    def chunks(self, blob: BlobId) -> set[int]:
        """Return the numbers of the chunks kept."""
        folder = self._path(blob)
        return {int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit()} if folder.is_dir() else set()

    def read(self, blob: BlobId, number: int) -> bytes | None:
        """Return one chunk, or None."""
        return _read(self._path(blob) / str(int(number)))

    def write(self, blob: BlobId, number: int, data: bytes) -> None:
        """Keep one verified chunk."""
        self._write(self._path(blob), str(int(number)), data)

    def put(self, parts: Iterable[bytes]) -> BlobRef:
        """Keep a whole blob of ours; the parts may have any size, and one chunk is in memory at a time.

        Its name is known at its end only: until then it lies in a folder of its own, then its chunks move, the manifest last.
        """
        beside = self._folder / f".put.{os.getpid()}.{next(self._puts)}"
        names: list[bytes] = []
        size = 0
        try:
            for piece in cut(parts):
                self._write(beside, str(len(names)), piece)
                names.append(chunk_name(piece))
                size += len(piece)
            manifest = Manifest(size=size, chunks=tuple(names))
            ref = ref_of(manifest)
            self._move(beside, self._path(ref.id), [str(number) for number in range(len(names))])
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        self.keep_manifest(ref.id, codec.encode(manifest))
        return ref

    def _move(self, source: Path, folder: Path, names: Iterable[str]) -> None:
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            for name in names:
                (source / name).rename(folder / name)
        except OSError as error:
            raise StoreFull(f"{self._folder}: {error}") from error

    def clear(self) -> None:
        """Forget everything: what an earlier process left behind."""
        for folder in self._folder.iterdir():
            shutil.rmtree(folder, ignore_errors=True)

    def retain(self, wanted: Collection[BlobId]) -> None:
        """Forget every blob but these, whole or in part: what an earlier process fetched for nobody any more."""
        names = {bytes(blob).hex() for blob in wanted}
        for folder in self._folder.iterdir():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def drop(self, blob: BlobId) -> None:
        """Forget a blob."""
        shutil.rmtree(self._path(blob), ignore_errors=True)

    def _write(self, folder: Path, name: str, data: bytes) -> None:
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            if shutil.disk_usage(folder).free < self._reserve + len(data):
                raise StoreFull(f"less than {self._reserve >> 20} MB would be left under {self._folder}")
            beside = folder / f".{name}.{os.getpid()}"
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
            beside.rename(folder / name)
        except OSError as error:
            raise StoreFull(f"{self._folder}: {error}") from error


def cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield chunks of CHUNK bytes, the last one shorter."""
    held = bytearray()
    for part in parts:
        held += part
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    if held:
        yield bytes(held)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
