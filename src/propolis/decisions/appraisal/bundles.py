"""Endorsements and roots as people keep them: PEM, DER, hex, JWK and JSON files, told apart by content (evidence.md, F1-F4).

What is none of these is left alone and named, so that a folder may hold a README. A root is a certificate that names itself
as issuer; where its own signature can be checked it must hold, as a damaged root is none.
"""

from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.crypto import crl, der, keys, x509
from propolis.crypto.crl import RevocationList
from propolis.crypto.paths import Roots
from propolis.crypto.x509 import Certificate
from propolis.decisions.appraisal import jsonic
from propolis.decisions.appraisal.eventlog import SIGNATURE_AGILE
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.errors import Rejected

MAX_FILE = 4 << 20  # bytes
_CURVES = {"P-256": keys.P256, "P-384": keys.P384, "P-521": keys.P521}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What files held; `ignored` names those that held nothing we know, with the reason."""

    certificates: tuple[Certificate, ...] = ()
    lists: tuple[RevocationList, ...] = ()
    keys: tuple[bytes, ...] = ()
    documents: tuple[bytes, ...] = ()
    logs: tuple[bytes, ...] = ()
    ignored: tuple[str, ...] = ()

    def joined(self, other: "Found") -> "Found":
        """Return both together."""
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        fields = self.__struct_fields__
        return Found(**{name: a + b for name, a, b in zip(fields, mine, theirs, strict=True)})

    def beside_roots(self) -> Endorsements:
        """Return what lies with roots and may endorse, but for lists, which are the roots'. Raises Rejected(oversize)."""
        return Endorsements().joined(Endorsements(certificates=self.certificates, documents=self.documents))

    def endorsements(self) -> Endorsements:
        """Return all that may endorse. Raises Rejected(oversize)."""
        return Endorsements().joined(
            Endorsements(certificates=self.certificates, lists=self.lists, documents=self.documents, logs=self.logs)
        )

    def roots(self) -> Roots:
        """Return what is trusted: self-issued certificates and bare keys."""
        pinned = tuple(each for each in self.certificates if each.self_issued and _whole(each))
        return Roots(pins=frozenset(each.pin for each in pinned), certificates=pinned, keys=self.keys, lists=self.lists)


def _whole(root: Certificate) -> bool:
    """Return whether a root's signature holds, or is of a kind (SHA-1) that says nothing: then its file is trusted."""
    try:
        keys.check(root.key, root.algorithm, root.tbs, root.signature)
    except Rejected as error:
        return error.reason == "sig_algo"
    return True


def read_files(files: Iterable[tuple[str, bytes]]) -> Found:
    """Read files, (name, content) each."""
    found = Found()
    for name, content in files:
        try:
            found = found.joined(read(content))
        except Rejected as error:
            found = found.joined(Found(ignored=(f"{name}: {error}",)))
    return found


def read(content: bytes) -> Found:
    """Read one file. Raises Rejected."""
    if len(content) > MAX_FILE:
        raise Rejected("oversize", f"a file of {len(content)} bytes")
    if content[32:48] == SIGNATURE_AGILE:
        return Found(logs=(content,))
    text = content.strip()
    if text[:1] == b"{":
        document = jsonic.members(jsonic.read(text))
        return Found(keys=(_jwk(document),)) if "kty" in document else Found(documents=(text,))
    if b"-----BEGIN " in text:
        return _pem(text)
    if content[:1] == b"\x30" and not text.isascii():
        return _der(content)
    if text and text.isascii():
        return _der(jsonic.spelt(text.decode("ascii"), "the file"))
    raise Rejected("envelope_encoding", "neither PEM, DER nor JSON")


def _pem(text: bytes) -> Found:
    found = Found()
    for label, body in x509.blocks(text):
        if label.endswith("CERTIFICATE"):
            found = found.joined(Found(certificates=(x509.parse(body),)))
        elif label == "X509 CRL":
            found = found.joined(Found(lists=(crl.parse(body),)))
        elif label == "PUBLIC KEY":
            found = found.joined(Found(keys=(_key(body),)))
    return found


def _der(content: bytes) -> Found:
    """Read a certificate, a list or a key: in a certificate's first part comes a version or number, in a list's an algorithm."""
    parts = der.children(der.one(content))
    if len(parts) == 2:
        return Found(keys=(_key(content),))
    try:
        return Found(certificates=(x509.parse(content),))
    except Rejected as error:
        try:
            return Found(lists=(crl.parse(content),))
        except Rejected:
            raise error from error


def _key(spki: bytes) -> bytes:
    keys.read(spki)
    return spki


def _jwk(document: dict[str, object]) -> bytes:
    """Return an EC key of JSON Web Key as SubjectPublicKeyInfo (RFC 7518, 6.2). Raises Rejected."""
    curve, x, y = (document.get(name) for name in ("crv", "x", "y"))
    if document.get("kty") != "EC" or not isinstance(curve, str) or curve not in _CURVES:
        raise Rejected("key_type", "a JWK that is no EC key on P-256, P-384 or P-521")
    size = (_CURVES[curve].key_size + 7) // 8
    point = b"".join(_coordinate(each).rjust(size, b"\0") for each in (x, y))
    key = keys.point(_CURVES[curve], b"\x04" + point)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _coordinate(value: object) -> bytes:
    if not isinstance(value, str):
        raise Rejected("key_type", "a JWK without coordinates")
    return jsonic.base64_of(value, "a coordinate")


def certificates_in(value: object, name: str) -> tuple[Certificate, ...]:
    """Read the certificates of a JSON field: PEM text, or DER in any spelling. Raises Rejected."""
    if isinstance(value, str) and "-----BEGIN" in value:
        return x509.read_all(value.encode("utf-8", "replace"))
    return (x509.parse(jsonic.octets(value, name)),)
