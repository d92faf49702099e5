"""An endorsement key and its certificate: does a maker whose root is pinned vouch for this very key (attestation.md, step 4).

EK certificates are no TLS certificates: no host name, their own key usage, a critical alternative name that holds the
TPM's model (TCG EK Credential Profile 2.5, 3.2).
"""

import binascii
from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from propolis.crypto import der, paths, x509
from propolis.crypto.paths import Roots
from propolis.crypto.tpm.ids import Attribute
from propolis.crypto.tpm.public import Public
from propolis.crypto.x509 import Certificate
from propolis.decisions.appraisal.tpm_roots import ROOTS, Maker
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

EK_PURPOSE = "2.23.133.8.1"  # tcg-kp-EKCertificate
MANUFACTURER = "2.23.133.2.1"  # tcg-at-tpmManufacturer
ALTERNATIVE_NAME = "2.5.29.17"
DIRECTORY_NAME = 0xA4
IBM_BY_NUMBER = b"00001014"  # what emulators state
_MUST = Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.RESTRICTED | Attribute.DECRYPT


class Endorsed(msgspec.Struct, frozen=True, kw_only=True):
    """Who vouches: the pin of the root the path ends at, the maker if it is one this release knows, until when."""

    root: str
    maker: Maker | None
    until: int
    manufacturer: str = ""  # in the letters of TCG's registry, as the certificate says it


def check_key(ek: Public) -> None:
    """Raise Rejected(ek_attrs) unless the area is one of an endorsement key: it decrypts, and never leaves its TPM."""
    if ek.attributes & _MUST != _MUST or ek.attributes & Attribute.SIGN or ek.key is None:
        raise Rejected("ek_attrs", "not an endorsement key")


def verify(ek: Public, certificate: bytes, pool: Iterable[Certificate], roots: Roots, now: Seconds) -> Endorsed:
    """Return who endorses the key. Raises Rejected: ek_attrs, ek_key, ek_usage, ek_root, ek_chain, ek_expired, or of parsing."""
    check_key(ek)
    leaf = x509.parse(certificate)
    if _numbers(leaf.key) != _numbers(ek.key):
        raise Rejected("ek_key", "the certificate is of another endorsement key")
    if leaf.authority() is not None:
        raise Rejected("ek_usage", "an authority's certificate where an endorsement key's belongs")
    if EK_PURPOSE not in leaf.purposes():
        raise Rejected("ek_usage", "a certificate that is not for an endorsement key")
    try:
        path = paths.build(leaf, pool, roots, now)
    except Rejected as error:
        raise Rejected(_REASONS.get(error.reason, "ek_chain"), str(error)) from error
    root = path[-1].pin
    until = min(each.not_after for each in path)
    return Endorsed(root=root, maker=ROOTS.get(root), until=until, manufacturer=_manufacturer(leaf))


def _manufacturer(leaf: Certificate) -> str:
    """Return tpmManufacturer of the alternative name (TCG EK Credential Profile 2.5, 3.1.2): letters, "" where it tells none."""
    found = leaf.extensions.get(ALTERNATIVE_NAME)
    for general in der.children(der.one(found.value)) if found is not None else []:
        if general.tag != DIRECTORY_NAME:
            continue
        for group in der.children(der.one(general.body)):
            for pair in der.children(group):
                parts = der.children(pair)
                if len(parts) == 2 and parts[0].tag == der.OID and der.oid(parts[0]) == MANUFACTURER:
                    return _letters(parts[1].body)
    return ""


def _letters(value: bytes) -> str:
    """Return the letters behind "id:494E5443"."""
    digits = value.removeprefix(b"id:")
    if digits == IBM_BY_NUMBER:
        return "IBM"
    try:
        return binascii.unhexlify(digits).rstrip(b"\0 ").decode("ascii") if len(digits) == 8 else ""
    except ValueError:
        return ""


def _numbers(key: object) -> object:
    """Return a key's numbers: makers write one key under several algorithms (rsaEncryption, RSAES-OAEP)."""
    return key.public_numbers() if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


_REASONS = {"root_untrusted": "ek_root", "cert_expired": "ek_expired", "cert_not_yet": "ek_expired"}
