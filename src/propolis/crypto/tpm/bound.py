"""A message that only one machine opens, and only as it was measured (docs/specs/attestation.md, steps 16 and 16a).

Two secrets lead to its key. One is in a credential: only the TPM with this endorsement key and this attestation key opens it.
The other is an object under this storage key that the TPM unseals only while its registers hold what was quoted. Chance is
handed in, so that this is a function; nothing of it is used twice.
"""

import hmac
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from propolis.crypto.tpm import outside, policy, public
from propolis.crypto.tpm.ids import Alg
from propolis.crypto.tpm.public import Public
from propolis.terms.bound import MAX_BOUND, Bound
from propolis.terms.errors import SealBroken

SECRET_BYTES = 32
_NONCE = bytes(12)  # each key seals one message
Draw = Callable[[int], bytes]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Whom it is for: keys that were certified and registers (SHA-256 bank) that were quoted."""

    ek: Public
    ak: Public
    srk: Public
    registers: Mapping[int, bytes]


def seal(machine: Machine, plain: bytes, info: bytes, draw: Draw) -> bytes:
    """Return the message, sealed; `info` names its purpose and is needed to open it.

    Raises Rejected: a key that takes no secret.
    """
    one, other = draw(SECRET_BYTES), draw(SECRET_BYTES)
    credential, secret = outside.make_credential(machine.ek, machine.ak.name, one, draw(32), _scalar(draw))
    digest = policy.pcr(policy.EMPTY, machine.registers, Alg.SHA256)
    sensitive, unique = outside.sealed_data(other, b"", draw(32))
    area = public.imported_object(digest, unique)
    duplicate, seed = outside.wrap(machine.srk, area, sensitive, draw(32), _scalar(draw))
    bound = Bound(
        credential=credential,
        secret=secret,
        area=area,
        duplicate=duplicate,
        seed=seed,
        pcrs=tuple(sorted(machine.registers)),
        sealed=AESGCM(_key(one, other, info)).encrypt(_NONCE, plain, info),
    )
    return msgspec.msgpack.encode(bound)


def read(data: bytes) -> Bound:
    """Read what travelled. Raises SealBroken."""
    if len(data) > MAX_BOUND:
        raise SealBroken("a sealed message longer than any is")
    try:
        return msgspec.msgpack.decode(data, type=Bound)
    except msgspec.MsgspecError as error:
        raise SealBroken("this is not sealed to a machine") from error


def opened(bound: Bound, one: bytes, other: bytes, info: bytes) -> bytes:
    """Return the message, with what the TPM gave for both parts. Raises SealBroken."""
    try:
        return AESGCM(_key(one, other, info)).decrypt(_NONCE, bound.sealed, info)
    except InvalidTag as error:
        raise SealBroken("sealed to another machine, or for another purpose") from error


def activated(secret: bytes, nonce: bytes) -> bytes:
    """Return what shows a verifier that its credential opened (step 14), and nothing of the secret: 32 bytes."""
    return hmac.digest(secret, b"propolis/activated/1" + nonce, "sha256")


def _key(one: bytes, other: bytes, info: bytes) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=b"propolis/bound/1", info=info)
    return kdf.derive(len(one).to_bytes(4, "big") + one + other)


def _scalar(draw: Draw) -> int:
    """Return a private scalar, uniform up to 2**-60 (40 bytes reduced to 255 bits and never zero)."""
    return int.from_bytes(draw(40), "big") % (2**255) + 1
