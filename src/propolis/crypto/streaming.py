"""Large data at rest: sealed in chunks, each in its place, the last one known as the last (docs/specs/vault.md).

STREAM of Hoang, Reyhanitabar, Rogaway and Vizár (CRYPTO 2015) over AES-256-GCM: nonce = 7 random bytes of the stream, the
chunk's number, and whether it is the last. A chunk moved, repeated, left out, or a stream cut short does not open.
"""

from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from propolis.terms.errors import SealBroken, TooLarge

KEY_BYTES = 32
PREFIX_BYTES = 7
CHUNK = 64 * 1024  # bytes of plain data in a chunk
TAG = 16
MAX_CHUNKS = 2**32 - 1


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes((last,))


class Sealer:
    """Seals one stream. `key` must serve this stream alone; `prefix` is 7 random bytes; `about` is bound to every chunk."""

    def __init__(self, key: bytes, prefix: bytes, about: bytes) -> None:
        self._aead = AESGCM(key)
        self._prefix = prefix
        self._about = about
        self._next = 0
        self._over = False

    def seal(self, plain: bytes, *, last: bool) -> bytes:
        """Return the next chunk; every one but the last holds CHUNK bytes. Raises TooLarge, SealBroken after the last."""
        if self._over:
            raise SealBroken("the stream is over")
        if len(plain) > CHUNK or (not last and len(plain) != CHUNK) or self._next >= MAX_CHUNKS:
            raise TooLarge(f"a chunk of {len(plain)} bytes, {CHUNK} belong into each but the last")
        sealed = self._aead.encrypt(_nonce(self._prefix, self._next, last=last), plain, self._about)
        self._next += 1
        self._over = last
        return sealed


class Opener:
    """Opens one stream in order, or single chunks by number."""

    def __init__(self, key: bytes, prefix: bytes, about: bytes) -> None:
        self._aead = AESGCM(key)
        self._prefix = prefix
        self._about = about

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        """Return chunk `number`. Raises SealBroken: wrong key, place, bytes, or not the last that it should be."""
        if not 0 <= number <= MAX_CHUNKS:
            raise SealBroken("there is no such chunk")
        try:
            plain = self._aead.decrypt(_nonce(self._prefix, number, last=last), sealed, self._about)
        except InvalidTag as error:
            raise SealBroken(f"chunk {number} does not open: altered, moved, cut, or of another key") from error
        if not last and len(plain) != CHUNK:
            raise SealBroken(f"chunk {number} is too short")
        return plain


def pieces(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Cut data of any parts into chunks; yield (chunk, last). Empty data is one empty last chunk."""
    waiting = bytearray()
    for part in parts:
        waiting += part
        while len(waiting) > CHUNK:
            yield bytes(waiting[:CHUNK]), False
            del waiting[:CHUNK]
    yield bytes(waiting), True


def sealed_size(size: int) -> int:
    """Return the bytes of the sealed form of `size` bytes."""
    chunks = max(1, -(-size // CHUNK))
    return size + chunks * TAG
