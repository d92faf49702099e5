"""COSE_Sign1 (RFC 9052, 4.2 and 4.4), verified strictly (docs/specs/evidence.md, C1-C6).

The algorithm is taken from the protected header alone and must be the one the key is for; critical headers are refused, as
we understand none; the payload is attached; a MAC is no signature.
"""

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from propolis.crypto import cbor, keys
from propolis.terms.errors import Rejected

ALG, CRIT, KEY_ID, CHAIN = 1, 2, 4, 33
SIGN1, MAC0, CWT = 18, 17, 61
_ECDSA = {-7: (256, "secp256r1"), -35: (384, "secp384r1"), -36: (512, "secp521r1")}
_EDDSA = -8


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A COSE_Sign1 taken apart; nothing is verified yet."""

    protected: bytes
    headers: cbor.Map
    unprotected: cbor.Map
    payload: bytes
    signature: bytes


def parse(value: cbor.Value) -> Signed:
    """Read a COSE_Sign1, tagged or not. Raises Rejected: cose_mac0, cose_shape, cose_crit, cose_alg, cbor."""
    if isinstance(value, cbor.Tag) and value.number == CWT and isinstance(value.value, cbor.Tag):
        value = value.value  # RFC 8392, 6: the tag of a CWT stands before COSE's own
    if isinstance(value, cbor.Tag):
        if value.number == MAC0:
            raise Rejected("cose_mac0", "a MAC proves nothing to others: only signatures are taken")
        if value.number != SIGN1:
            raise Rejected("cose_shape", f"CBOR tag {value.number} where a COSE_Sign1 belongs")
        value = value.value
    if not (isinstance(value, list) and len(value) == 4):
        raise Rejected("cose_shape", "a COSE_Sign1 has four parts")
    protected, unprotected, payload, signature = value
    if not (isinstance(protected, bytes) and isinstance(unprotected, dict)):
        raise Rejected("cose_shape", "COSE headers of odd shape")
    if not (isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise Rejected("cose_shape", "a COSE_Sign1 without attached payload or signature")
    headers = cbor.decode_map(protected) if protected else {}
    if CRIT in headers or CRIT in unprotected:
        raise Rejected("cose_crit", "a critical header that nobody here understands")
    if set(headers) & set(unprotected):
        raise Rejected("cose_shape", "a header both protected and not")
    if ALG not in headers:
        raise Rejected("cose_alg", "the algorithm is not in the protected header")
    return Signed(protected=protected, headers=headers, unprotected=unprotected, payload=payload, signature=signature)


def check(signed: Signed, key: keys.PublicKey) -> None:
    """Check the signature. Raises Rejected: cose_alg, sig_key_mismatch, signature."""
    alg = signed.headers[ALG]
    data = (
        b"\x84" + cbor.text_of("Signature1") + cbor.bytes_of(signed.protected) + b"\x40" + cbor.bytes_of(signed.payload)
    )
    if isinstance(alg, int) and alg in _ECDSA:
        bits, curve = _ECDSA[alg]
        if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == curve):
            raise Rejected("sig_key_mismatch", f"COSE algorithm {alg} needs a key on {curve}")
        size = (key.curve.key_size + 7) // 8
        if len(signed.signature) != 2 * size:
            raise Rejected("signature", f"a signature of {len(signed.signature)} bytes")
        r, s = (int.from_bytes(half, "big") for half in (signed.signature[:size], signed.signature[size:]))
        keys.check_raw(key, bits, data, r, s)
    elif alg == _EDDSA:
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise Rejected("sig_key_mismatch", "EdDSA needs an Ed25519 key")
        try:
            key.verify(signed.signature, data)
        except InvalidSignature as error:
            raise Rejected("signature", "the signature does not verify") from error
    else:
        raise Rejected("cose_alg", f"COSE algorithm {str(alg)[:20]}")
