"""X.509 certificates, read leniently enough for real hardware and strictly enough to build on (RFC 5280; evidence.md, X1-X5).

Read: what path building needs. Not looked at: serial numbers of 0, unsorted names, the meaning of names. Extensions and the
key are read when they are asked for; whatever is wrong, and whenever it is found, it is a Rejected.
"""

import base64
import binascii
import re
from functools import lru_cache

import msgspec

from propolis.crypto import der, keys
from propolis.terms.calendar import seconds
from propolis.terms.errors import Rejected

MAX_CERTIFICATE = 16 * 1024  # bytes
MAX_EXTENSIONS = 64
MAX_PEM = 64  # certificates in one text

BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
_UNDERSTOOD = frozenset(  # critical ones that are acted on, or that only name and point
    {BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, "2.5.29.14", "2.5.29.17", "2.5.29.31", "2.5.29.32", "2.5.29.35"}
)
_KEY_CERT_SIGN, _CRL_SIGN = 5, 6
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----")


class Extension(msgspec.Struct, frozen=True):
    """One extension; `value` is DER."""

    critical: bool
    value: bytes


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate. Names and the key are their exact DER; times are seconds since 1970."""

    raw: bytes
    tbs: bytes
    serial: bytes
    issuer: bytes
    subject: bytes
    not_before: int
    not_after: int
    spki: bytes
    algorithm: bytes
    signature: bytes
    extensions: dict[str, Extension]

    @property
    def pin(self) -> str:
        """SHA-256 of the key, in hex."""
        return keys.pin(self.spki)

    @property
    def self_issued(self) -> bool:
        """Whether it names itself as issuer."""
        return self.issuer == self.subject

    @property
    def key(self) -> keys.PublicKey:
        """The key. Raises Rejected: key_type, curve, point, weak_key, der."""
        return keys.read(self.spki)

    def understood(self) -> bool:
        """Return whether every critical extension is one we act on."""
        return all(name in _UNDERSTOOD for name, each in self.extensions.items() if each.critical)

    def authority(self) -> int | None:
        """Return how many intermediates may follow it (64 = any), or None for one that is no authority."""
        found = self.extensions.get(BASIC_CONSTRAINTS)
        if found is None:
            return None
        parts = der.children(der.one(found.value))
        if not parts or parts[0].tag != der.BOOLEAN or not der.boolean(parts[0]):
            return None
        return der.integer(parts[1], most=64) if len(parts) > 1 else 64

    def may_sign_certificates(self) -> bool:
        """Return whether its key usage lets it issue; a certificate without key usage is not limited."""
        return self._usage(_KEY_CERT_SIGN)

    def may_sign_lists(self) -> bool:
        """Return whether its key usage lets it sign revocation lists."""
        return self._usage(_CRL_SIGN)

    def _usage(self, place: int) -> bool:
        found = self.extensions.get(KEY_USAGE)
        if found is None:
            return True
        body = der.one(found.value, der.BIT_STRING).body
        return len(body) > 1 + place // 8 and bool(body[1 + place // 8] >> (7 - place % 8) & 1)

    def purposes(self) -> frozenset[str]:
        """Return the extended key usages, as OIDs."""
        found = self.extensions.get(EXTENDED_KEY_USAGE)
        return frozenset(der.oid(each) for each in der.children(der.one(found.value))) if found else frozenset()


@lru_cache(maxsize=512)  # a value of a value: the same chains come with every report
def parse(data: bytes) -> Certificate:
    """Read one certificate in DER. Raises Rejected: truncated, trailing, oversize, der, sig_algo."""
    if len(data) > MAX_CERTIFICATE:
        raise Rejected("oversize", f"a certificate of {len(data)} bytes, at most {MAX_CERTIFICATE} are read")
    parts = der.children(der.one(data))
    if len(parts) != 3:
        raise Rejected("der", "a certificate has three parts")
    fields = der.children(der.expect(parts[0], der.SEQUENCE))
    if fields and fields[0].tag == 0xA0:
        if der.integer(der.one(fields.pop(0).body, der.INTEGER), most=3) != 2:
            raise Rejected("der", "a certificate of another version than 3")
    else:
        raise Rejected("der", "a certificate of version 1")
    if len(fields) < 6:
        raise Rejected("der", "a certificate with parts missing")
    serial, algorithm, issuer, validity, subject, spki, *rest = fields
    if algorithm.raw != parts[1].raw:
        raise Rejected("sig_algo", "a certificate that names two signature algorithms")
    window = der.children(der.expect(validity, der.SEQUENCE))
    if len(window) != 2:
        raise Rejected("der", "a certificate without validity")
    return Certificate(
        raw=data,
        tbs=parts[0].raw,
        serial=der.expect(serial, der.INTEGER).body,
        issuer=der.expect(issuer, der.SEQUENCE).raw,
        subject=der.expect(subject, der.SEQUENCE).raw,
        not_before=instant(window[0]),
        not_after=instant(window[1]),
        spki=der.expect(spki, der.SEQUENCE).raw,
        algorithm=der.expect(algorithm, der.SEQUENCE).raw,
        signature=der.bits(parts[2]),
        extensions=_extensions(rest),
    )


def _extensions(rest: list[der.Element]) -> dict[str, Extension]:
    for element in rest:
        if element.tag == 0xA3:
            return extensions(der.one(element.body))
        if element.tag not in (0x81, 0x82, 0xA1, 0xA2):
            raise Rejected("der", "an unknown part in a certificate")
    return {}


def extensions(sequence: der.Element) -> dict[str, Extension]:
    """Read a SEQUENCE of extensions, none twice. Raises Rejected(der, oversize)."""
    found: dict[str, Extension] = {}
    members = der.children(sequence)
    if len(members) > MAX_EXTENSIONS:
        raise Rejected("oversize", f"{len(members)} extensions")
    for each in members:
        parts = der.children(der.expect(each, der.SEQUENCE))
        if not 2 <= len(parts) <= 3:
            raise Rejected("der", "an extension of odd shape")
        name = der.oid(parts[0])
        critical = len(parts) == 3 and der.boolean(parts[1])
        if name in found:
            raise Rejected("der", f"extension {name} twice")
        found[name] = Extension(critical, der.expect(parts[-1], der.OCTET_STRING).body)
    return found


def instant(element: der.Element) -> int:
    """Read a Time (RFC 5280, 4.1.2.5): to the second, in UTC. Raises Rejected(der)."""
    text = element.body
    if not (text[:-1].isdigit() and text[-1:] == b"Z"):
        raise Rejected("der", "a time that is not in UTC")
    if element.tag == der.UTC_TIME and len(text) == 13:
        short = int(text[:2])
        year, rest = (1900 if short >= 50 else 2000) + short, text[2:-1]
    elif element.tag == der.GENERALIZED_TIME and len(text) == 15:
        year, rest = int(text[:4]), text[4:-1]
    else:
        raise Rejected("der", "a time of odd shape")
    try:
        return seconds(year, *(int(rest[at : at + 2]) for at in range(0, 10, 2)))
    except ValueError as error:
        raise Rejected("der", str(error)) from error


def blocks(data: bytes) -> list[tuple[str, bytes]]:
    """Return the PEM blocks of a text, (label, bytes). Raises Rejected: pem, oversize."""
    found: list[tuple[str, bytes]] = []
    for label, body in _PEM.findall(data):
        if len(found) >= MAX_PEM:
            raise Rejected("oversize", f"more than {MAX_PEM} PEM blocks")
        try:
            found.append((label.decode("ascii"), base64.b64decode(b"".join(body.split()), validate=True)))
        except binascii.Error as error:
            raise Rejected("pem", "a PEM block that is not base64") from error
    if len(found) != data.count(b"-----BEGIN "):
        raise Rejected("pem", "a broken PEM block")
    return found


def read_all(data: bytes) -> tuple[Certificate, ...]:
    """Read every certificate of a PEM text, or the one of a DER. Raises Rejected."""
    if data[:1] == b"\x30":
        return (parse(data),)
    return tuple(parse(body) for label, body in blocks(data) if label.endswith("CERTIFICATE"))
