"""The grant: one HPKE handshake per guest and job (RFC 9180, base mode, X25519-HKDF-SHA256-ChaCha20Poly1305).

The guest makes an ephemeral key; the node signs it into a receipt; the owner checks the receipt and seals the roots to
that key (docs/specs/job.md, steps 5 and 6). The random part of HPKE is drawn inside the library, so sealing a grant is
work asked of the owner's key home and never happens inside a machine.
"""

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from propolis.crypto import sealing
from propolis.terms.errors import SealBroken
from propolis.terms.identity import GuestId, JobId

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class Roots(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What a guest may know: 32 bytes each."""

    program: bytes
    inputs: bytes
    results: bytes


def roots_for(secret: bytes, job: JobId, guest: GuestId, guest_key: bytes) -> Roots:
    """Return the roots for one guest of a job."""
    return Roots(
        program=sealing.program_root(secret, job),
        inputs=sealing.input_root(secret, job),
        results=sealing.result_root(secret, job, guest, guest_key),
    )


def _info(job: JobId, guest: GuestId) -> bytes:
    return b"propolis/grant/1" + job + guest


def seal_grant(secret: bytes, job: JobId, guest: GuestId, guest_key: bytes) -> bytes:
    """Seal the roots to the guest's key. Raises SealBroken when `guest_key` is not a usable X25519 key."""
    try:
        key = X25519PublicKey.from_public_bytes(guest_key)
        return _SUITE.encrypt(
            msgspec.msgpack.encode(roots_for(secret, job, guest, guest_key)), key, info=_info(job, guest)
        )
    except ValueError as error:
        raise SealBroken("the guest's key is not a usable X25519 key") from error


def open_grant(private: X25519PrivateKey, job: JobId, guest: GuestId, sealed: bytes) -> Roots:
    """Open a grant inside the guest. Raises SealBroken."""
    try:
        roots = msgspec.msgpack.decode(_SUITE.decrypt(sealed, private, info=_info(job, guest)), type=Roots)
    except (InvalidTag, ValueError, msgspec.MsgspecError) as error:
        raise SealBroken("the grant does not open with this guest's key") from error
    if not len(roots.program) == len(roots.inputs) == len(roots.results) == sealing.SECRET_BYTES:
        raise SealBroken("the grant's roots have the wrong length")
    return roots
