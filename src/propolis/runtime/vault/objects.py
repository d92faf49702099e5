"""Stored data in and out, a chunk at a time: what is in memory does not grow with what is stored (docs/specs/vault.md, 10)."""

from collections.abc import Callable, Iterable, Iterator

from propolis.crypto import streaming
from propolis.crypto.vault import index as shelf
from propolis.crypto.vault.index import Version
from propolis.ports.vault import Source
from propolis.runtime.vault.opening import Opened
from propolis.runtime.vault.writing import Desk
from propolis.terms.errors import SealBroken, VaultDamaged
from propolis.terms.vault import ID_BYTES, KEY_BYTES, ObjectId, Stored

SEALED_CHUNK = streaming.CHUNK + streaming.TAG


def put(desk: Desk, name: str, parts: Iterable[bytes], keep: int | None) -> Stored:
    """Store data under a name, as its next version. Raises DataError, StoreFull, StoreError, TpmError, VaultError."""
    shelf.checked_name(name)
    shelf.checked_keep(keep)
    with desk.writing() as found:
        before, at = found.index.get(name), shelf.checked_time(desk.now())
        number, item = (before.last if before else 0) + 1, ObjectId(desk.entropy.draw(ID_BYTES))
        key, prefix = desk.entropy.draw(KEY_BYTES), desk.entropy.draw(streaming.PREFIX_BYTES)
        bound = shelf.about(found.vault, name, number, item)
        size = 0

        def sealed() -> Iterator[bytes]:
            nonlocal size
            sealer = streaming.Sealer(key, prefix, bound)
            for piece, last in streaming.pieces(parts):
                size += len(piece)
                yield sealer.seal(piece, last=last)

        desk.folder.write(item, sealed())
        version = Version(
            number=number,
            object=item,
            key=shelf.wrap(found.kek, found.vault, bound, key, desk.entropy.draw(shelf.NONCE_BYTES)),
            prefix=prefix,
            size=size,
            at=at,
        )
        index, gone = shelf.added(found.index, name, version, keep)
        desk.commit(index, fresh=[item], gone=gone)
    return shelf.stored(name, version)


def remove(desk: Desk, name: str, number: int | None) -> int:
    """Forget a version, or all of a name. Return how many. Raises UnknownObject, StoreError, TpmError, VaultError."""
    with desk.writing() as found:
        index, gone = shelf.removed(found.index, name, number)
        desk.commit(index, gone=gone)
    return len(gone)


def get(desk: Desk, name: str, number: int | None) -> tuple[Stored, Iterator[bytes]]:
    """Return a version and its plain bytes in chunks, each authentic and in its place.

    What is wrong with the file as a whole is told at once. The iterator raises VaultDamaged where a chunk is not what it
    should be: what came before is genuine. Raises UnknownObject, VaultDamaged, StoreError.
    """
    desk.refresh()
    while True:
        seen = desk.current
        version = shelf.find(seen.index, name, number)
        source = _whole(desk, name, version)
        if source is not None:
            return shelf.stored(name, version), _plain(seen, name, version, source)
        desk.refresh()  # another process may have removed it since we looked
        if desk.current is seen:
            raise damaged(name, version, "is missing")


def _whole(desk: Desk, name: str, version: Version) -> Source | None:
    """Open an object file that has the size it should have, None where there is none."""
    source = desk.folder.read(ObjectId(version.object))
    wanted = streaming.sealed_size(version.size)
    if source is not None and source.size != wanted:
        source.close()
        raise damaged(name, version, f"has {source.size} bytes instead of {wanted}: it was cut or grown")
    return source


def _plain(found: Opened, name: str, version: Version, source: Source) -> Iterator[bytes]:
    bound = shelf.about(found.vault, name, version.number, ObjectId(version.object))
    try:
        key = shelf.unwrap(found.kek, found.vault, bound, version.key)
        opener = streaming.Opener(key, version.prefix, bound)
        last = max(1, -(-version.size // streaming.CHUNK)) - 1
        for chunk in range(last + 1):
            yield opener.open(chunk, source.read(SEALED_CHUNK), last=chunk == last)
    except SealBroken as error:
        raise damaged(name, version, f"is not what was stored: {error}") from error
    finally:
        source.close()


def unseen(_size: int) -> None:
    """Nobody looks."""


def verify(desk: Desk, *, deep: bool, seen: Callable[[int], object] = unseen) -> list[str]:
    """Return what is wrong with the stored files, by name; `deep` reads all of them. `seen` is told the plain bytes read."""
    wrong = []
    for name, entry in sorted(desk.current.index.items()):
        for version in entry.versions:
            try:
                _read(desk, name, version, seen if deep else None)
            except VaultDamaged as error:
                wrong.append(str(error))
    return wrong


def _read(desk: Desk, name: str, version: Version, seen: Callable[[int], object] | None) -> None:
    source = _whole(desk, name, version)
    if source is None:
        raise damaged(name, version, "is missing")
    if seen is None:
        source.close()
        return
    for piece in _plain(desk.current, name, version, source):
        seen(len(piece))


def damaged(name: str, version: Version, what: str) -> VaultDamaged:
    """Return the error of an object file, named."""
    return VaultDamaged(f"objects/{version.object.hex()}, which is {name!r} version {version.number}, {what}")
