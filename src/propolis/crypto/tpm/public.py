"""TPMT_PUBLIC: what a TPM says of a key, its Name, and the templates of the keys we make (Part 2, 12.2; TCG EK profile).

A public area proves nothing by itself: anybody can write one (facts: forged keys). It counts once a credential was
activated against an endorsement key.
"""

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import Hash

from propolis.crypto import roca
from propolis.crypto.tpm.ids import Alg, Attribute, Curve
from propolis.crypto.tpm.kdf import hash_of
from propolis.crypto.tpm.marshal import Reader, sized, u16, u32
from propolis.terms.errors import Rejected

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_CURVES: dict[int, type[ec.EllipticCurve]] = {Curve.P256: ec.SECP256R1, Curve.P384: ec.SECP384R1}
_AES_CFB = u16(Alg.AES) + u16(128) + u16(Alg.CFB)
_NULL = u16(Alg.NULL)
RSA_EXPONENT = 65537
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 4096


class Public(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed public area; `raw` is exactly the bytes that the TPM hashes into the Name."""

    raw: bytes
    type: int
    name_alg: int
    attributes: Attribute
    policy: bytes
    scheme: int
    scheme_hash: int
    key: Key | None

    @property
    def name(self) -> bytes:
        """The Name: nameAlg and the hash of the public area."""
        return u16(self.name_alg) + _hash(self.name_alg, self.raw)

    @property
    def itself(self) -> bytes:
        """A digest of the key alone, whatever area it stands in. Raises Rejected(key_type) where there is no key.

        Of a point its x: whoever holds one of the two points of an x opens what is encrypted to either.
        """
        if self.key is None:
            raise Rejected("key_type", "an area without a key")
        numbers = self.key.public_numbers()
        if isinstance(numbers, rsa.RSAPublicNumbers):
            return _hash(Alg.SHA256, b"rsa" + numbers.n.to_bytes(MOST_RSA_BITS // 8, "big"))
        return _hash(Alg.SHA256, numbers.curve.name.encode() + numbers.x.to_bytes(66, "big"))


def stem(area: bytes) -> bytes:
    """Return a key's public area, or a template of one, up to the key itself: what two keys of one template share.

    Raises Rejected(truncated, key_type, sig_alg).
    """
    reader = Reader(area)
    kind = reader.u16()
    reader.take(6)
    reader.sized(64)
    _symmetric(reader)
    _scheme(reader)
    if kind not in (Alg.RSA, Alg.ECC):
        raise Rejected("key_type", f"key type {kind:#06x}")
    reader.take(6 if kind == Alg.RSA else 4)
    return area[: len(area) - reader.left]


def qualified(key: Public, *parents: bytes, hierarchy: int) -> bytes:
    """Return the Qualified Name of a key under parents of these Names, nearest the hierarchy first (Part 1, 16.2)."""
    above = u32(hierarchy)
    for name in (*parents, key.name):
        alg = int.from_bytes(name[:2], "big")
        above = u16(alg) + _hash(alg, above + name)
    return above


def _hash(alg: int, data: bytes) -> bytes:
    digest = Hash(hash_of(alg))
    digest.update(data)
    return digest.finalize()


def parse(data: bytes) -> Public:
    """Read a TPMT_PUBLIC. Raises Rejected: truncated, trailing, oversize, key_type, curve, point, weak_key, roca, hash_alg."""
    reader = Reader(data)
    kind, name_alg = reader.u16(), reader.u16()
    hash_of(name_alg)
    attributes, policy = Attribute(reader.u32()), reader.sized(64)
    key: Key | None = None
    scheme, scheme_hash = Alg.NULL.value, 0
    if kind == Alg.RSA:
        _symmetric(reader)
        scheme, scheme_hash = _scheme(reader)
        bits, exponent = reader.u16(), reader.u32() or RSA_EXPONENT
        key = _rsa(reader.sized(512), bits, exponent)
    elif kind == Alg.ECC:
        _symmetric(reader)
        scheme, scheme_hash = _scheme(reader)
        curve = reader.u16()
        if reader.u16() != Alg.NULL:
            raise Rejected("key_type", "a key derivation scheme in a key")
        key = _point(curve, reader.sized(66), reader.sized(66))
    elif kind == Alg.KEYEDHASH:
        scheme, scheme_hash = _scheme(reader)
        reader.sized(64)
    else:
        raise Rejected("key_type", f"key type {kind:#06x}")
    reader.end()
    return Public(
        raw=bytes(data),
        type=kind,
        name_alg=name_alg,
        attributes=attributes,
        policy=policy,
        scheme=scheme,
        scheme_hash=scheme_hash,
        key=key,
    )


def _symmetric(reader: Reader) -> None:
    if reader.u16() != Alg.NULL:
        reader.take(4)


def _scheme(reader: Reader) -> tuple[int, int]:
    scheme = reader.u16()
    if scheme == Alg.NULL:
        return scheme, 0
    if scheme not in (Alg.RSASSA, Alg.RSAPSS, Alg.ECDSA, Alg.OAEP):
        raise Rejected("sig_alg", f"scheme {scheme:#06x}")
    return scheme, reader.u16()


def _rsa(modulus: bytes, bits: int, exponent: int) -> rsa.RSAPublicKey:
    value = int.from_bytes(modulus, "big")
    if exponent != RSA_EXPONENT or value.bit_length() != bits or not LEAST_RSA_BITS <= bits <= MOST_RSA_BITS:
        raise Rejected("weak_key", f"an RSA key of {value.bit_length()} bits with exponent {exponent}")
    if value % 2 == 0:
        raise Rejected("weak_key", "an RSA key whose modulus is even")  # no product of primes; encrypting to it fails
    if roca.weak(value):
        raise Rejected("roca", "an RSA key that can be factored: ROCA, CVE-2017-15361")
    try:
        return rsa.RSAPublicNumbers(exponent, value).public_key()
    except ValueError as error:
        raise Rejected("weak_key", str(error)) from error


def _point(curve: int, x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    if curve not in _CURVES:
        raise Rejected("curve", f"curve {curve:#06x}")
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), _CURVES[curve]())
    try:
        return numbers.public_key()
    except ValueError as error:
        raise Rejected("point", "not a point of its curve") from error


def ecc_unique(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a TPMS_ECC_POINT of a key."""
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    return sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))


# -- templates: TPMT_PUBLIC with an empty or chosen `unique`

_EK_ATTRIBUTES = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.ADMIN_WITH_POLICY | Attribute.RESTRICTED | Attribute.DECRYPT
)  # fmt: skip
_SRK_ATTRIBUTES = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.USER_WITH_AUTH | Attribute.NO_DA | Attribute.RESTRICTED | Attribute.DECRYPT
)  # fmt: skip
_AK_ATTRIBUTES = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.USER_WITH_AUTH | Attribute.NO_DA | Attribute.RESTRICTED | Attribute.SIGN
)  # fmt: skip
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""PolicySecret(endorsement), SHA-256 (TCG EK Credential Profile 2.5, B.6.2, PolicyA)."""


def ek_rsa() -> bytes:
    """Template L-1: RSA 2048 endorsement key (TCG EK Credential Profile, B.3.3)."""
    head = _head(Alg.RSA, _EK_ATTRIBUTES, EK_POLICY)
    return head + _AES_CFB + _NULL + u16(2048) + u32(0) + sized(bytes(256))


def ek_ecc() -> bytes:
    """Template L-2: ECC P-256 endorsement key (B.3.4)."""
    head = _head(Alg.ECC, _EK_ATTRIBUTES, EK_POLICY)
    return head + _AES_CFB + _NULL + u16(Curve.P256) + _NULL + sized(bytes(32)) + sized(bytes(32))


def srk_ecc() -> bytes:
    """ECC P-256 storage key (TCG Provisioning Guidance, 7.5.1)."""
    head = _head(Alg.ECC, _SRK_ATTRIBUTES, b"")
    return head + _AES_CFB + _NULL + u16(Curve.P256) + _NULL + sized(bytes(32)) + sized(bytes(32))


def ak_ecc(purpose: bytes = b"") -> bytes:
    """ECC P-256 attestation key: restricted, signs only what the TPM made. `purpose` of 32 bytes separates keys."""
    head = _head(Alg.ECC, _AK_ATTRIBUTES, b"")
    scheme = u16(Alg.ECDSA) + u16(Alg.SHA256)
    return head + _NULL + scheme + u16(Curve.P256) + _NULL + sized(purpose or bytes(32)) + sized(bytes(32))


def sealed_object(policy: bytes, *, with_auth: bool) -> bytes:
    """A keyed-hash object that holds data; released by its policy, or by its auth value where the policy is empty."""
    attributes = Attribute.FIXED_TPM | Attribute.FIXED_PARENT
    attributes |= Attribute.NO_DA if not with_auth else Attribute(0)
    attributes |= Attribute.USER_WITH_AUTH if not policy else Attribute(0)
    return _head(Alg.KEYEDHASH, attributes, policy) + _NULL + sized(b"")


def imported_object(policy: bytes, unique: bytes) -> bytes:
    """A keyed-hash object that others made and wrapped to a storage key: released by its policy alone."""
    return _head(Alg.KEYEDHASH, Attribute.NO_DA, policy) + _NULL + sized(unique)


def verifying_key(key: ec.EllipticCurvePublicKey) -> bytes:
    """The public area of somebody's P-256 signing key, for TPM2_LoadExternal."""
    head = _head(Alg.ECC, Attribute.USER_WITH_AUTH | Attribute.SIGN, b"")
    scheme = u16(Alg.ECDSA) + u16(Alg.SHA256)
    return head + _NULL + scheme + u16(Curve.P256) + _NULL + ecc_unique(key)


def _head(kind: Alg, attributes: Attribute, policy: bytes) -> bytes:
    return u16(kind) + u16(Alg.SHA256) + u32(attributes) + sized(policy)
