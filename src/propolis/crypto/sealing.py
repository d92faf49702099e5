"""How a job's bytes are sealed: program, inputs and results. docs/specs/job.md numbers the steps cited here.

Secrets form one tree (step 3): the owner draws a 32-byte job secret; HKDF-SHA256 gives one root for the program, one for
the inputs, and one for the results of each guest. A guest receives roots, never the job secret, and the result root of
no other guest. Each derived key encrypts exactly one message, so every nonce is fixed and none can repeat.
"""

from collections.abc import Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from propolis.terms.errors import SealBroken
from propolis.terms.identity import GuestId, JobId

SECRET_BYTES = 32
TAG_BYTES = 16
PROGRAM_CHUNK = 1024 * 1024
"""Plaintext bytes per program chunk."""

_ZERO_NONCE = bytes(12)
_SALT = b"propolis/job/1"


def derive(secret: bytes, label: bytes, *context: bytes) -> bytes:
    """Return a 32-byte root under `label`; each context part is length-prefixed, so no two contexts collide (step 3)."""
    info = label + b"".join(len(part).to_bytes(4, "big") + part for part in context)
    return HKDF(algorithm=SHA256(), length=32, salt=_SALT, info=info).derive(secret)


def program_root(secret: bytes, job: JobId) -> bytes:
    """Return the root that seals the program."""
    return derive(secret, b"program", job)


def input_root(secret: bytes, job: JobId) -> bytes:
    """Return the root that seals every task's input."""
    return derive(secret, b"input", job)


def result_root(secret: bytes, job: JobId, guest: GuestId, guest_key: bytes) -> bytes:
    """Return the root that seals the results of one guest, and of it alone.

    The guest's own key is part of it: whoever hands out guest ids twice does not make two guests share a root.
    """
    return derive(secret, b"result", job, guest, guest_key)


def _once(root: bytes, position: bytes) -> AESGCM:
    return AESGCM(HKDFExpand(algorithm=SHA256(), length=32, info=position).derive(root))


def _input_position(job: JobId, index: int) -> bytes:
    return msgspec.msgpack.encode((1, "input", job, index))


def _result_position(job: JobId, guest: GuestId, index: int, attempt: int) -> bytes:
    return msgspec.msgpack.encode((1, "result", job, guest, index, attempt))


def seal_input(root: bytes, job: JobId, index: int, plain: bytes | memoryview) -> bytes:
    """Seal one task's input at its position (step 4). Call it once per (job, index)."""
    position = _input_position(job, index)
    return _once(root, position).encrypt(_ZERO_NONCE, plain, position)


def open_input(root: bytes, job: JobId, index: int, sealed: bytes | memoryview) -> bytes:
    """Open one task's input. Raises SealBroken when key, position or bytes differ."""
    position = _input_position(job, index)
    return _open(_once(root, position), sealed, position, "a task's input")


def seal_result(root: bytes, job: JobId, guest: GuestId, index: int, attempt: int, plain: bytes | memoryview) -> bytes:
    """Seal one result at its position (step 7). Call it once per (guest, index, attempt)."""
    position = _result_position(job, guest, index, attempt)
    return _once(root, position).encrypt(_ZERO_NONCE, plain, position)


def open_result(root: bytes, job: JobId, guest: GuestId, index: int, attempt: int, sealed: bytes | memoryview) -> bytes:
    """Open one result. Raises SealBroken when key, position or bytes differ."""
    position = _result_position(job, guest, index, attempt)
    return _open(_once(root, position), sealed, position, "a result")


def sealed_program_size(size: int) -> int:
    """Return the bytes a program of `size` bytes takes, sealed."""
    return size + TAG_BYTES * max(1, -(-size // PROGRAM_CHUNK))


def seal_program(root: bytes, job: JobId, plain: bytes | memoryview) -> Iterator[bytes]:
    """Yield the program's sealed chunks; the last one is marked as last inside the seal (STREAM, step 2)."""
    view = memoryview(plain)
    count = max(1, -(-len(view) // PROGRAM_CHUNK))
    key = AESGCM(root)
    for number in range(count):
        chunk = view[number * PROGRAM_CHUNK : (number + 1) * PROGRAM_CHUNK]
        yield key.encrypt(_chunk_nonce(number), chunk, _chunk_position(job, number, number == count - 1))


def open_program(root: bytes, job: JobId, sealed: bytes | memoryview) -> bytes:
    """Open a whole sealed program. Raises SealBroken when cut, reordered, extended or altered."""
    view = memoryview(sealed)
    step = PROGRAM_CHUNK + TAG_BYTES
    count = -(-len(view) // step)
    if count == 0:
        raise SealBroken("the program is empty")
    key = AESGCM(root)
    parts = [
        _open(
            key,
            view[n * step : (n + 1) * step],
            _chunk_position(job, n, n == count - 1),
            "the program",
            _chunk_nonce(n),
        )
        for n in range(count)
    ]
    return b"".join(parts)


def _chunk_nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _chunk_position(job: JobId, number: int, last: bool) -> bytes:
    return msgspec.msgpack.encode((1, "program", job, number, last))


def _open(key: AESGCM, sealed: bytes | memoryview, position: bytes, what: str, nonce: bytes = _ZERO_NONCE) -> bytes:
    try:
        return key.decrypt(nonce, sealed, position)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"{what} does not open at its position") from error
