"""AWS Nitro Enclaves attestation documents (evidence.md, W1-W6).

Source: AWS Nitro Enclaves, "Verifying the root of trust" and its attestation document specification, 3.1 and 3.2.
"""

from propolis.crypto import cbor, cose, crl, keys, paths, x509
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import claim
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

TECHNOLOGY = "nitro"
MAX_PCRS = 32
MAX_USER, MAX_KEY, MAX_LINK = 512, 1024, 1024  # bytes
ES384 = -35
_KNOWN = frozenset(
    {"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle", "public_key", "user_data", "nonce"}
)


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a document. Raises Rejected."""
    signed = cose.parse(cbor.decode(evidence))
    if signed.headers[cose.ALG] != ES384:
        raise Rejected("cose_alg", "a document that is not signed by ES384")
    document = cbor.decode_map(signed.payload)
    if not set(document) <= _KNOWN:
        raise Rejected("claim_unknown", "a document with fields that AWS does not describe")
    if claim.needed(document, "digest", str, "digest") != "SHA384":
        raise Rejected("claim_hash", "PCRs under another digest than SHA384")
    leaf = x509.parse(claim.needed(document, "certificate", bytes, "certificate"))
    pool = (*_bundle(document), *endorsements.certificates)
    path = paths.build(leaf, pool, roots, now)
    crl.revoked(path, endorsements.lists, now, roots.lists)
    cose.check(signed, leaf.key)
    pcrs = _pcrs(document)
    answer, user, key = (
        _field(document, name, most)
        for name, most in (("nonce", MAX_USER), ("user_data", MAX_USER), ("public_key", MAX_KEY))
    )
    fresh = exactly(nonce, answer)
    module = claim.needed(document, "module_id", str, "module id")
    if not module:
        raise Rejected("claim_size", "an empty module id")
    stamp = claim.needed(document, "timestamp", int, "timestamp")
    if stamp <= 0:
        raise Rejected("claim_size", "a timestamp before 1970")
    return Verified(
        technology=TECHNOLOGY,
        identity=f"module:{module}",
        facts={
            "module-id": module,
            "timestamp-ms": stamp,
            "debug": not any(pcrs.get(0, b"")),
            "measurement": pcrs.get(0, b"").hex(),
            **{f"pcr{place}": value.hex() for place, value in pcrs.items()},
            "nonce": (answer or b"").hex(),
            "user-data": (user or b"").hex(),
            "public-key": (key or b"").hex(),
            "signer": keys.pin(leaf.spki),
        },
        fresh=fresh,
        until=expires(now, crl.until(path, (*endorsements.lists, *roots.lists), now)),
    )


def _bundle(document: cbor.Map) -> tuple[x509.Certificate, ...]:
    found = document.get("cabundle")
    if not isinstance(found, list) or not found:
        raise Rejected("claim_missing", "the chain of certificates is missing")
    if len(found) > paths.MAX_DEPTH:
        raise Rejected("oversize", f"a chain of {len(found)} certificates")
    return tuple(x509.parse(claim.sized({0: each}, 0, tuple(range(1, MAX_LINK + 1)), "certificate")) for each in found)


def _pcrs(document: cbor.Map) -> dict[int, bytes]:
    found = document.get("pcrs")
    if not isinstance(found, dict) or not 1 <= len(found) <= MAX_PCRS:
        raise Rejected("claim_missing", "PCRs are missing")
    pcrs: dict[int, bytes] = {}
    for place in found:
        if not isinstance(place, int) or not 0 <= place < MAX_PCRS:
            raise Rejected("claim_type", "a PCR that is none")
        pcrs[place] = claim.sized(found, place, (48,), f"PCR {place}", "pcr_len")
    return pcrs


def _field(document: cbor.Map, name: str, most: int) -> bytes | None:
    if document.get(name) is None:
        return None
    value = claim.needed(document, name, bytes, name)
    if len(value) > most:
        raise Rejected("oversize", f"{name} of {len(value)} bytes")
    return value


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a document. A debug enclave is genuine and worth nothing: its PCRs are zero, and its vector contraindicated."""
    debug = bool(verified.facts["debug"])
    known = not debug and str(verified.facts["measurement"]) in reference.images
    claims = {"debug-off": not debug, "known-image": known}
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        configuration=Value.CONTRAINDICATED if debug else Value.RECOGNIZED,
        executables=Value.APPROVED_BOOT if known else Value.UNRECOGNIZED,
        hardware=Value.RECOGNIZED,
    )
    return appraised(verified, claims, vector)
