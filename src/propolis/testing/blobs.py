"""What every blob store must do. `make` returns a fresh one."""

from collections.abc import Callable

from propolis.messages.blobs import CHUNK, manifest_for
from propolis.ports.blobs import Blobs
from propolis.terms.errors import StoreError
from propolis.terms.identity import BlobId

Make = Callable[[], Blobs]


def keeps_a_blob_in_chunks(make: Make) -> None:
    """What is put comes back in chunks that its manifest names."""
    blobs = make()
    data = bytes(range(256)) * (CHUNK // 256 * 2 + 3)
    ref = blobs.put([data[:1000], data[1000:]])
    manifest = manifest_for(ref, blobs.manifest(ref.id) or b"")
    assert blobs.chunks(ref.id) == set(range(len(manifest.chunks)))
    assert b"".join(blobs.read(ref.id, n) or b"" for n in range(len(manifest.chunks))) == data


def has_nothing_of_an_unknown_blob(make: Make) -> None:
    """Unknown is None and empty, dropping it is no error."""
    blobs = make()
    unknown = BlobId(bytes(32))
    assert blobs.manifest(unknown) is None
    assert blobs.chunks(unknown) == set()
    assert blobs.read(unknown, 0) is None
    blobs.drop(unknown)


def forgets_what_is_dropped(make: Make) -> None:
    """A dropped blob is gone."""
    blobs = make()
    ref = blobs.put([b"x"])
    blobs.drop(ref.id)
    assert blobs.chunks(ref.id) == set()


def a_strangers_name_never_becomes_a_path(make: Make) -> None:
    """Only 32 raw bytes are a name."""
    blobs = make()
    for name in (b"../../etc/passwd", b"", b"x" * 33):
        try:
            blobs.write(BlobId(name), 0, b"x")
        except StoreError:
            continue
        raise AssertionError("StoreError was wanted")


SUITE = (
    keeps_a_blob_in_chunks,
    has_nothing_of_an_unknown_blob,
    forgets_what_is_dropped,
    a_strangers_name_never_becomes_a_path,
)
