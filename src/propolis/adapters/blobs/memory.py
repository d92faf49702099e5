"""The stand-in: blobs in memory, for tests."""

from collections.abc import Iterable

from propolis.messages import codec
from propolis.messages.blobs import CHUNK, Manifest, chunk_name, ref_of
from propolis.terms.errors import StoreError
from propolis.terms.identity import BLOB_ID_BYTES, BlobId
from propolis.terms.job import BlobRef


class MemoryBlobs:
    """Blobs in dictionaries."""

    def __init__(self) -> None:
        self._manifests: dict[BlobId, bytes] = {}
        self._chunks: dict[BlobId, dict[int, bytes]] = {}

    def manifest(self, blob: BlobId) -> bytes | None:
        """Return the manifest's exact bytes, or None."""
        return self._manifests.get(_named(blob))

    def keep_manifest(self, blob: BlobId, data: bytes) -> None:
        """Keep a verified manifest."""
        self._manifests[_named(blob)] = data

    def chunks(self, blob: BlobId) -> set[int]:
        """Return the numbers of the chunks kept."""
        return set(self._chunks.get(_named(blob), {}))

    def read(self, blob: BlobId, number: int) -> bytes | None:
        """Return one chunk, or None."""
        return self._chunks.get(_named(blob), {}).get(number)

    def write(self, blob: BlobId, number: int, data: bytes) -> None:
        """Keep one verified chunk."""
        self._chunks.setdefault(_named(blob), {})[number] = data

    def put(self, parts: Iterable[bytes]) -> BlobRef:
        """Keep a whole blob of ours."""
        data = b"".join(parts)
        pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
        manifest = Manifest(size=len(data), chunks=tuple(map(chunk_name, pieces)))
        ref = ref_of(manifest)
        self._chunks[ref.id] = dict(enumerate(pieces))
        self._manifests[ref.id] = codec.encode(manifest)
        return ref

    def drop(self, blob: BlobId) -> None:
        """Forget a blob."""
        self._manifests.pop(blob, None)
        self._chunks.pop(blob, None)


def _named(blob: BlobId) -> BlobId:
    if len(blob) != BLOB_ID_BYTES:
        raise StoreError("not a blob's name")
    return blob
