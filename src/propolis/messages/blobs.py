"""Words on a blob stream: what is wanted, and what comes back. Chunks of 1 MiB, each named by its BLAKE3 in the manifest."""

from typing import Annotated

import msgspec
from blake3 import blake3

from propolis.messages import codec
from propolis.terms.errors import MalformedMessage
from propolis.terms.identity import BlobId, Id32
from propolis.terms.job import MAX_PROGRAM_BYTES, BlobRef

CHUNK = 1024 * 1024
MAX_CHUNKS = MAX_PROGRAM_BYTES // CHUNK
MAX_WORD = 256 * 1024
MAX_ANSWER = CHUNK + 1024


class Manifest(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A blob's size in bytes and the BLAKE3 of each of its chunks."""

    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_PROGRAM_BYTES)]
    chunks: Annotated[tuple[Id32, ...], msgspec.Meta(min_length=1, max_length=MAX_CHUNKS)]


class ManifestWanted(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="manifest"
):
    """Ask for a blob's manifest."""

    blob: Id32


class ChunkWanted(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="chunk"):
    """Ask for one chunk."""

    blob: Id32
    number: Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHUNKS)]


Wanted = ManifestWanted | ChunkWanted


def chunk_name(data: bytes | memoryview) -> bytes:
    """Return a chunk's name."""
    return blake3(data).digest()


def blob_id(manifest: Manifest) -> BlobId:
    """Return the blob's name: BLAKE3 of its manifest's bytes."""
    return BlobId(blake3(codec.encode(manifest)).digest())


def ref_of(manifest: Manifest) -> BlobRef:
    """Return the reference that travels in a job's spec."""
    return BlobRef(blob=blob_id(manifest), size=manifest.size)


def manifest_for(ref: BlobRef, data: bytes) -> Manifest:
    """Read a stranger's manifest. Raises MalformedMessage unless it is exactly the one the reference names."""
    if blake3(data).digest() != ref.blob:
        raise MalformedMessage("a manifest that is not the one asked for")
    manifest: Manifest = codec.decode(data, Manifest)
    if manifest.size != ref.size or len(manifest.chunks) != -(-ref.size // CHUNK):
        raise MalformedMessage("a manifest whose size does not agree")
    return manifest
