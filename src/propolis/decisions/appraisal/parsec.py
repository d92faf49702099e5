"""Parsec's TPM key attestation: a key certified by an attestation key, and a quote by the same (evidence.md, TK1-TK5).

Source: Parsec key attestation, draft-fossati-tls-attestation's TPM conceptual message (KAT and PAT maps). The attestation
key is pinned: nothing in such evidence endorses it.
"""

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from propolis.crypto import cbor, keys
from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest, public
from propolis.crypto.tpm.ids import Alg, Attribute, Tag
from propolis.crypto.tpm.public import Public
from propolis.decisions.appraisal import claim, jsonic
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Reference,
    Verified,
    appraised,
    exactly,
    expires,
)
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected
from propolis.terms.trust import Value, Vector

TECHNOLOGY = "parsec-tpm"
_RESIDENT = Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
_BYTES = ("kid", "sig", "pubArea", "certInfo", "attestInfo")
_FIELDS = frozenset({"tpmVer", "alg", *_BYTES})


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a map of KAT and PAT, in CBOR or JSON. Raises Rejected."""
    kat, pat = _tokens(evidence)
    certify = attest.parse(_bytes(kat, "certInfo"))
    quote = attest.parse(_bytes(pat, "attestInfo"))
    if (certify.kind, quote.kind) != (Tag.ATTEST_CERTIFY, Tag.ATTEST_QUOTE):
        raise Rejected("attest_type", "not a certification and a quote")
    area = public.parse(_bytes(kat, "pubArea"))
    if certify.certified != area.name:
        raise Rejected("binding", "another key was certified than the one shown")
    if certify.extra != quote.extra or certify.signer != quote.signer or kat.get("kid") != pat.get("kid"):
        raise Rejected("binding", "certification and quote are not of one moment and key")
    if not quote.selections:
        raise Rejected("pcr_select", "a quote of no PCR")
    pinned = _signer(kat, pat, roots)
    fresh = exactly(nonce, quote.extra)
    return Verified(
        technology=TECHNOLOGY,
        identity=f"key:{keys.pin(pinned)}",
        facts={
            "key-name": area.name.hex(),
            "resident": area.attributes & _RESIDENT == _RESIDENT,
            "policy": area.policy.hex(),
            "nonce": quote.extra.hex(),
            "pcr-digest": quote.digest.hex(),
            "pcrs": tuple(f"{each.bank:#06x}:{','.join(map(str, each.pcrs))}" for each in quote.selections),
            "firmware": f"{quote.clock.firmware:#018x}",
            "resets": quote.clock.resets,
        },
        fresh=fresh,
        until=expires(now),
    )


def _tokens(evidence: bytes) -> tuple[cbor.Map, cbor.Map]:
    if evidence[:1] == b"{":
        found: cbor.Map = {name: _of_json(value) for name, value in jsonic.members(jsonic.read(evidence)).items()}
    else:
        found = cbor.decode_map(evidence)
    kat, pat = (_token(found, name) for name in ("kat", "pat"))
    return kat, pat


def _of_json(value: object) -> cbor.Map:
    token = jsonic.members(value)
    return {name: jsonic.octets(each, name) if name in _BYTES else each for name, each in token.items()}


def _token(found: cbor.Map, name: str) -> cbor.Map:
    token = found.get(name)
    if not isinstance(token, dict):
        raise Rejected("claim_missing", f"{name} is missing")
    if not set(token) <= _FIELDS:
        raise Rejected("claim_unknown", f"{name} with fields that Parsec does not describe")
    if claim.needed(token, "tpmVer", str, "TPM version") != "2.0":
        raise Rejected("version", "not a TPM of version 2.0")
    _bytes(token, "kid")
    return token


def _bytes(token: cbor.Map, name: str) -> bytes:
    return claim.needed(token, name, bytes, name)


def _signer(kat: cbor.Map, pat: cbor.Map, roots: Roots) -> bytes:
    """Return the pinned key that signed both. Raises Rejected: root_untrusted, signature."""
    signed = [
        (_bytes(kat, "certInfo"), attest.parse_signature(_bytes(kat, "sig"))),
        (_bytes(pat, "attestInfo"), attest.parse_signature(_bytes(pat, "sig"))),
    ]
    why = Rejected("root_untrusted", "no attestation key is pinned")
    for spki in roots.keys[: claim.MAX_KEYS]:
        key = keys.read(spki)
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            continue
        try:
            for data, signature in signed:
                attest.verify(_bare(key), data, signature)
        except Rejected as error:
            why = error
            continue
        return spki
    raise why


def _bare(key: public.Key) -> Public:
    """Return a key as `attest.verify` takes it, with no scheme of its own."""
    kind = Alg.RSA if isinstance(key, rsa.RSAPublicKey) else Alg.ECC
    return Public(
        raw=b"",
        type=kind,
        name_alg=Alg.SHA256,
        attributes=Attribute(0),
        policy=b"",
        scheme=Alg.NULL,
        scheme_hash=0,
        key=key,
    )


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a key. Raises Rejected(ak_attrs) for one that may have been made elsewhere."""
    if not verified.facts["resident"]:
        raise Rejected("ak_attrs", "a key that may live outside this TPM")
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        executables=Value.UNRECOGNIZED,
        configuration=0,
        storage_opaque=Value.RECOGNIZED,
    )
    return appraised(verified, {"resident-key": True}, vector)
