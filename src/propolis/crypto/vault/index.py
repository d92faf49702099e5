"""What a vault holds: names, versions, and each one's own data key; sealed as a whole, bound to its header.

docs/specs/vault.md, steps 10 to 12. Names are in here and nowhere else: object files are called by random numbers.
"""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from propolis.crypto import streaming
from propolis.crypto.vault.state import MAX_INDEX, derive
from propolis.terms.errors import DataError, TooLarge, UnknownObject, VaultDamaged
from propolis.terms.vault import MAX_KEPT, MAX_NAME_BYTES, U63, Bytes16, ObjectId, Stored, VaultId

SALT_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
MAX_NAMES = 50_000
MAX_TIME = 2**63 - 1
_ONCE = bytes(NONCE_BYTES)  # the index key is derived from a fresh salt each time: it seals one index


class Version(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One version: its object file, the file's key (wrapped) and nonce prefix, plain bytes, and when (s since 1970)."""

    number: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    object: Bytes16
    key: Annotated[bytes, msgspec.Meta(min_length=60, max_length=60)]
    prefix: Annotated[bytes, msgspec.Meta(min_length=7, max_length=7)]
    size: Annotated[int, msgspec.Meta(ge=0, le=streaming.MAX_CHUNKS * streaming.CHUNK)]
    at: U63


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A name, how many versions of it are kept, the last version's number ever given, and the versions, oldest first."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_BYTES)]
    keep: Annotated[int, msgspec.Meta(ge=1, le=MAX_KEPT)]
    last: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    versions: Annotated[tuple[Version, ...], msgspec.Meta(min_length=1, max_length=MAX_KEPT)]


Entries = Annotated[tuple[Entry, ...], msgspec.Meta(max_length=MAX_NAMES)]
Index = dict[str, Entry]
_decoder = msgspec.msgpack.Decoder(Entries)


def checked_name(name: str) -> str:
    """Return a name that may be stored. Raises DataError: empty, too long, or with characters that do not show."""
    if not name or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise DataError(f"a stored name has 1 to {MAX_NAME_BYTES} bytes")
    if not name.isprintable():
        raise DataError("a stored name has only characters that show")
    return name


def checked_keep(keep: int | None) -> int | None:
    """Return how many versions are to stay, None = as before. Raises DataError."""
    if keep is not None and not 1 <= keep <= MAX_KEPT:
        raise DataError(f"of a name 1 to {MAX_KEPT} versions can stay, not {keep}")
    return keep


def checked_time(at: int) -> int:
    """Return a writer's time, seconds since 1970. Raises DataError: its clock is before that, or beyond all reason."""
    if not 0 <= at <= MAX_TIME:
        raise DataError(f"this machine's clock says {at} seconds since 1970: no time to store", hint="set the clock")
    return at


def seal(kek: bytes, vault: VaultId, index: Index, bound: bytes, salt: bytes) -> bytes:
    """Seal an index to the header with the digest `bound`; `salt` is 32 fresh random bytes.

    Raises TooLarge, and DataError for an index that no opening would read: the recovery code would not open it either.
    """
    plain = msgspec.msgpack.encode(tuple(index[name] for name in sorted(index)))
    if len(plain) > MAX_INDEX - SALT_BYTES - TAG_BYTES or len(index) > MAX_NAMES:
        raise TooLarge("the vault holds too many names and versions", hint="remove some, or make a second vault")
    try:
        parse(plain)
    except VaultDamaged as error:
        raise DataError(f"nothing was written: no opening would read the vault after it: {error}") from error
    return salt + AESGCM(derive(kek, vault, b"index", salt)).encrypt(_ONCE, plain, bound)


def open_index(kek: bytes, vault: VaultId, sealed: bytes, bound: bytes) -> Index:
    """Open an index. Raises VaultDamaged: altered, or of another header."""
    salt = sealed[:SALT_BYTES]
    try:
        plain = AESGCM(derive(kek, vault, b"index", salt)).decrypt(_ONCE, sealed[SALT_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise VaultDamaged("the file `vault` was altered: its index is not of its header") from error
    return parse(plain)


def parse(plain: bytes) -> Index:
    """Read an index's plain bytes. Raises VaultDamaged."""
    try:
        entries = _decoder.decode(plain)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise VaultDamaged(f"the file `vault` has an index that is none: {error}") from error
    index = {entry.name: entry for entry in entries}
    objects = [version.object for entry in entries for version in entry.versions]
    if len(index) != len(entries) or len(objects) != len(set(objects)):
        raise VaultDamaged("the file `vault` names something twice")
    for entry in entries:
        numbers = [version.number for version in entry.versions]
        if numbers != sorted(set(numbers)) or numbers[-1] > entry.last:
            raise VaultDamaged("the file `vault` has versions out of order")
    return index


def objects(index: Index) -> set[ObjectId]:
    """Return the object files that an index counts on."""
    return {ObjectId(version.object) for entry in index.values() for version in entry.versions}


def stored(name: str, version: Version) -> Stored:
    """Return a version as people see it."""
    return Stored(name=name, version=version.number, size=version.size, at=version.at, object=ObjectId(version.object))


def find(index: Index, name: str, number: int | None) -> Version:
    """Return a version of a name, the newest for None. Raises UnknownObject."""
    entry = index.get(name)
    if entry is None:
        raise UnknownObject(f"the vault holds nothing named {name!r}")
    for version in reversed(entry.versions):
        if number is None or version.number == number:
            return version
    there = ", ".join(str(version.number) for version in entry.versions)
    raise UnknownObject(f"of {name!r} the vault has no version {number}, it has {there}")


def added(index: Index, name: str, version: Version, keep: int | None) -> tuple[Index, list[ObjectId]]:
    """Return the index with one more version, and the object files of those that are no longer kept.

    `keep` = how many newest versions stay from now on; None leaves it as it is, 1 for a new name.
    """
    before = index.get(name)
    kept = keep or (before.keep if before else 1)
    versions = (*(before.versions if before else ()), version)
    gone = [ObjectId(old.object) for old in versions[:-kept]]
    entry = Entry(name=name, keep=kept, last=version.number, versions=versions[-kept:])
    return {**index, name: entry}, gone


def removed(index: Index, name: str, number: int | None) -> tuple[Index, list[ObjectId]]:
    """Return the index without a version of a name, without the whole name for None. Raises UnknownObject."""
    if number is None:
        find(index, name, None)
        gone = [ObjectId(version.object) for version in index[name].versions]
        return {other: entry for other, entry in index.items() if other != name}, gone
    version = find(index, name, number)
    left = tuple(other for other in index[name].versions if other.number != number)
    if not left:
        return removed(index, name, None)
    entry = msgspec.structs.replace(index[name], versions=left)
    return {**index, name: entry}, [ObjectId(version.object)]


def about(vault: VaultId, name: str, number: int, item: ObjectId) -> bytes:
    """Return what a data key and every chunk of its object are bound to."""
    return msgspec.msgpack.encode((1, "vault", vault, name, number, item))


def wrap(kek: bytes, vault: VaultId, bound: bytes, key: bytes, nonce: bytes) -> bytes:
    """Wrap a data key; `nonce` is 12 fresh random bytes."""
    return nonce + AESGCM(derive(kek, vault, b"data keys")).encrypt(nonce, key, bound)


def unwrap(kek: bytes, vault: VaultId, bound: bytes, wrapped: bytes) -> bytes:
    """Return a data key. Raises VaultDamaged."""
    try:
        return AESGCM(derive(kek, vault, b"data keys")).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise VaultDamaged("a data key in the file `vault` does not open") from error


def rewrapped(old: bytes, new: bytes, vault: VaultId, index: Index, nonces: list[bytes]) -> Index:
    """Return the index with every data key wrapped by a new key; `nonces` has one per version. Raises VaultDamaged."""
    left = iter(nonces)

    def moved(name: str, version: Version) -> Version:
        bound = about(vault, name, version.number, ObjectId(version.object))
        key = wrap(new, vault, bound, unwrap(old, vault, bound, version.key), next(left))
        return msgspec.structs.replace(version, key=key)

    return {
        name: msgspec.structs.replace(entry, versions=tuple(moved(name, version) for version in entry.versions))
        for name, entry in index.items()
    }
