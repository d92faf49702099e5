"""Public keys of certificates, and the signatures they check (docs/specs/evidence.md, K1-K4).

One allow-list for all technologies: ECDSA on P-256, P-384, P-521, RSA of 2048 to 8192 bits (PKCS #1 v1.5, PSS), Ed25519,
each with SHA-2. Keys are read by us, so that a vendor's odd encoding neither fails nor passes by a library's mood.
"""

from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from propolis.crypto import der, roca
from propolis.terms.errors import Rejected

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
LEAST_EXPONENT, MOST_EXPONENT = 65537, 1 << 64
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "1.2.840.10045.3.1.7": ec.SECP256R1,
    "1.3.132.0.34": ec.SECP384R1,
    "1.3.132.0.35": ec.SECP521R1,
}
P256, P384, P521 = ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()
_EC = "1.2.840.10045.2.1"
_ED25519 = "1.3.101.112"
_RSA = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7", "1.2.840.113549.1.1.10")  # plain, OAEP and PSS keys
_Sha2 = type[hashes.SHA256] | type[hashes.SHA384] | type[hashes.SHA512]
_HASHES: dict[str, _Sha2] = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256,
    "2.16.840.1.101.3.4.2.2": hashes.SHA384,
    "2.16.840.1.101.3.4.2.3": hashes.SHA512,
}
_ECDSA = {f"1.2.840.10045.4.3.{place}": kind for place, kind in zip((2, 3, 4), _HASHES.values(), strict=True)}
_PKCS1 = {f"1.2.840.113549.1.1.{place}": kind for place, kind in zip((11, 12, 13), _HASHES.values(), strict=True)}
_RAW = {256: ec.ECDSA(hashes.SHA256()), 384: ec.ECDSA(hashes.SHA384()), 512: ec.ECDSA(hashes.SHA512())}
_PSS = "1.2.840.113549.1.1.10"
_MGF1 = "1.2.840.113549.1.1.8"


def pin(spki: bytes) -> str:
    """Return what a key is pinned by: SHA-256 of its SubjectPublicKeyInfo, in hex."""
    return sha256(spki).hexdigest()


@lru_cache(maxsize=256)  # roots and intermediates come again and again; a value of a value
def read(spki: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo. Raises Rejected: der, truncated, trailing, key_type, curve, point, weak_key, roca."""
    parts = der.children(der.one(spki))
    if len(parts) != 2:
        raise Rejected("der", "a public key of odd shape")
    algorithm = der.children(der.expect(parts[0], der.SEQUENCE))
    if not algorithm:
        raise Rejected("der", "a public key without algorithm")
    name, content = der.oid(algorithm[0]), der.bits(parts[1])
    if name == _EC:
        if len(algorithm) != 2 or algorithm[1].tag != der.OID:
            raise Rejected("curve", "a curve that is not named")
        return point(_curve(der.oid(algorithm[1])), content)
    if name in _RSA:
        return _rsa(content)
    if name == _ED25519 and len(content) == 32:
        return ed25519.Ed25519PublicKey.from_public_bytes(content)
    raise Rejected("key_type", f"a key of algorithm {name}")


def _curve(name: str) -> ec.EllipticCurve:
    if name not in _CURVES:
        raise Rejected("curve", f"curve {name}")
    return _CURVES[name]()


def point(curve: ec.EllipticCurve, data: bytes) -> ec.EllipticCurvePublicKey:
    """Read an uncompressed point. Raises Rejected(point)."""
    if len(data) != 1 + 2 * ((curve.key_size + 7) // 8) or data[0] != 4:
        raise Rejected("point", "not an uncompressed point")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, data)
    except ValueError as error:
        raise Rejected("point", "not a point of its curve") from error


def _rsa(content: bytes) -> rsa.RSAPublicKey:
    numbers = der.children(der.one(content))
    if len(numbers) != 2:
        raise Rejected("der", "an RSA key of odd shape")
    modulus, exponent = der.integer(numbers[0], most=1 << MOST_RSA_BITS), der.integer(numbers[1], most=MOST_EXPONENT)
    if modulus.bit_length() < LEAST_RSA_BITS or exponent < LEAST_EXPONENT or exponent % 2 == 0:
        raise Rejected("weak_key", f"an RSA key of {modulus.bit_length()} bits with exponent {exponent}")
    if roca.weak(modulus):
        raise Rejected("roca", "an RSA key that can be factored: ROCA, CVE-2017-15361")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise Rejected("weak_key", "not an RSA modulus") from error


def check(key: PublicKey, algorithm: bytes, data: bytes, signature: bytes) -> None:
    """Check a signature by its AlgorithmIdentifier (DER). Raises Rejected: sig_algo, sig_key_mismatch, signature."""
    parts = der.children(der.one(algorithm))
    name = der.oid(parts[0]) if parts else ""
    try:
        if name in _ECDSA:
            _need(isinstance(key, ec.EllipticCurvePublicKey))
            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(signature, data, ec.ECDSA(_ECDSA[name]()))
        elif name in _PKCS1:
            _need(isinstance(key, rsa.RSAPublicKey))
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, data, padding.PKCS1v15(), _PKCS1[name]())
        elif name == _PSS:
            _need(isinstance(key, rsa.RSAPublicKey))
            assert isinstance(key, rsa.RSAPublicKey)
            kind, salt = _pss(parts)
            key.verify(signature, data, padding.PSS(padding.MGF1(kind), salt), kind)
        elif name == _ED25519:
            _need(isinstance(key, ed25519.Ed25519PublicKey))
            assert isinstance(key, ed25519.Ed25519PublicKey)
            key.verify(signature, data)
        else:
            raise Rejected("sig_algo", f"signature algorithm {name}")
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise Rejected("signature", "the signature does not verify") from error


@lru_cache(maxsize=512)  # only what holds is remembered: the same chains come with every report
def check_known(spki: bytes, algorithm: bytes, data: bytes, signature: bytes) -> None:
    """Check as `check` does, for what comes again and again: certificates and lists. Raises Rejected as that does."""
    check(read(spki), algorithm, data, signature)


def _need(fits: bool) -> None:
    if not fits:
        raise Rejected("sig_key_mismatch", "the signature is not of this kind of key")


def _pss(parts: list[der.Element]) -> tuple[hashes.HashAlgorithm, int]:
    """Return hash and salt length of RSASSA-PSS-params (RFC 4055, 3.1); the defaults are SHA-1, so all must be stated."""
    if len(parts) != 2:
        raise Rejected("sig_algo", "RSASSA-PSS without parameters")
    stated = {
        element.tag: der.one(element.body, element.body[0] if element.body else 0) for element in der.children(parts[1])
    }
    if not {0xA0, 0xA1, 0xA2} <= set(stated) <= {0xA0, 0xA1, 0xA2, 0xA3}:
        raise Rejected("sig_algo", "RSASSA-PSS with parameters left to SHA-1")
    kind = _hash(stated[0xA0])
    mask = der.children(der.expect(stated[0xA1], der.SEQUENCE))
    if len(mask) != 2 or der.oid(mask[0]) != _MGF1 or _hash(mask[1]).name != kind.name:
        raise Rejected("sig_algo", "RSASSA-PSS with another mask")
    if 0xA3 in stated and der.integer(stated[0xA3]) != 1:
        raise Rejected("sig_algo", "RSASSA-PSS with another trailer")
    salt = der.integer(stated[0xA2], most=256)
    return kind, salt


def _hash(element: der.Element) -> hashes.HashAlgorithm:
    parts = der.children(der.expect(element, der.SEQUENCE))
    name = der.oid(parts[0]) if parts else ""
    if name not in _HASHES:
        raise Rejected("sig_algo", f"hash {name}")
    return _HASHES[name]()


def check_raw(key: PublicKey, hash_bits: int, data: bytes, r: int, s: int) -> None:
    """Check an ECDSA signature of two numbers with SHA-256, 384 or 512. Raises Rejected: sig_key_mismatch, signature."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Rejected("sig_key_mismatch", "an ECDSA signature needs an EC key")
    if not (r and s):
        raise Rejected("signature", "a signature of zero")
    try:
        key.verify(encode_dss_signature(r, s), data, _RAW[hash_bits])
    except (InvalidSignature, ValueError) as error:
        raise Rejected("signature", "the signature does not verify") from error
