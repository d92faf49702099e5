"""Sealed blobs at rest, in verified chunks. Ids come from strangers: they never become paths unchecked."""

from collections.abc import Iterable
from typing import Protocol

from propolis.terms.identity import BlobId
from propolis.terms.job import BlobRef


class Blobs(Protocol):
    """Chunks by (blob, number). Every implementation passes `propolis.testing.blobs`."""

    def manifest(self, blob: BlobId) -> bytes | None:
        """Return the manifest's exact bytes, or None."""
        ...

    def keep_manifest(self, blob: BlobId, data: bytes) -> None:
        """Keep a verified manifest. Raises StoreFull."""
        ...

    def chunks(self, blob: BlobId) -> set[int]:
        """Return the numbers of the chunks kept."""
        ...

    def read(self, blob: BlobId, number: int) -> bytes | None:
        """Return one chunk, or None."""
        ...

    def write(self, blob: BlobId, number: int, data: bytes) -> None:
        """Keep one verified chunk; after a crash it is there whole or not at all. Raises StoreFull."""
        ...

    def put(self, parts: Iterable[bytes]) -> BlobRef:
        """Keep a whole blob of ours. Raises StoreFull."""
        ...

    def drop(self, blob: BlobId) -> None:
        """Forget a blob; no error when it is not there."""
        ...
