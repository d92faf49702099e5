"""Arm CCA tokens: a platform token that vouches for a realm's key, and a realm token under it (evidence.md, M1-M7).

Source: Realm Management Monitor specification (DEN0137), A7; draft-ffm-rats-cca-token. The collection is a tagged map
(399) or a CMW (907). The platform's key is pinned; the realm's is bound by the platform's challenge.
"""

from hashlib import sha256, sha384, sha512

from propolis.crypto import cbor, cose, keys
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import claim
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Facts,
    Reference,
    Verified,
    appraised,
    bound,
    expires,
)
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected
from propolis.terms.trust import Value, Vector

TECHNOLOGY = "cca"
_COLLECTION, _CMW, _CMW_TYPE = 399, 907, "__cmwc_t"
_PLATFORM, _REALM = 44234, 44241
_PLATFORM_PROFILES = ("http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0")
_REALM_PROFILES = ("tag:arm.com,2023:realm#1.0.0", "tag:arm.com,2024:realm#2.0.0")
_HASHES = {"sha-256": sha256, "sha-384": sha384, "sha-512": sha512}
_REMS = 4
_P384_COSE = {1: 2, -1: 2}


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a collection. Raises Rejected."""
    platform_token, realm_token = _collection(cbor.decode(evidence))
    signed = cose.parse(cbor.decode(platform_token))
    claim.signer(signed, roots)
    platform = cbor.decode_map(signed.payload)
    facts = _platform(platform)
    realm_signed = cose.parse(cbor.decode(realm_token))
    realm = cbor.decode_map(realm_signed.payload)
    rak = claim.needed(realm, 44237, bytes, "realm attestation key")
    alg = claim.needed(realm, 44240, str, "hash of the realm attestation key")
    if _hash(alg, rak) != claim.sized(platform, 10, claim.HASHES, "challenge", "claim_nonce"):
        raise Rejected("binding", "the platform does not vouch for this realm's key")
    cose.check(realm_signed, _rak(rak))
    challenge = claim.sized(realm, 10, (64,), "realm challenge", "claim_nonce")
    fresh = bound(nonce, challenge)
    return Verified(
        technology=TECHNOLOGY,
        identity=f"instance:{facts['instance-id']}",
        facts={**facts, **_realm(realm), "nonce": challenge.hex()},
        fresh=fresh,
        until=expires(now),
    )


def _collection(value: cbor.Value) -> tuple[bytes, bytes]:
    """Return platform and realm token. Raises Rejected(cca_collection)."""
    if not (isinstance(value, cbor.Tag) and value.number in (_COLLECTION, _CMW) and isinstance(value.value, dict)):
        raise Rejected("cca_collection", "not a collection of a platform and a realm token")
    tokens = {key: token for key, token in value.value.items() if key != _CMW_TYPE}
    if set(tokens) != {_PLATFORM, _REALM}:
        raise Rejected("cca_collection", "a collection of other than one platform and one realm token")
    return _token(tokens[_PLATFORM]), _token(tokens[_REALM])


def _token(value: cbor.Value) -> bytes:
    if isinstance(value, list) and 2 <= len(value) <= 3:  # a CMW record: content type, token, indicator
        value = value[1]
    if not isinstance(value, bytes):
        raise Rejected("cca_collection", "a token that is no byte string")
    return value


def _platform(claims: cbor.Map) -> Facts:
    profile = claim.needed(claims, 265, str, "profile")
    if profile not in _PLATFORM_PROFILES:
        raise Rejected("claim_profile", "a profile that is not a CCA platform's")
    _known_hash(claim.needed(claims, 2402, str, "hash algorithm"))
    lifecycle = claim.needed(claims, 2395, int, "security lifecycle")
    return {
        "profile": profile,
        "instance-id": claim.instance(claims, 256).hex(),
        "implementation-id": claim.sized(claims, 2396, (32,), "implementation id").hex(),
        "configuration": claim.needed(claims, 2401, bytes, "configuration").hex(),
        "lifecycle": lifecycle,
        "secured": claim.secured(lifecycle),
        "software": claim.components(claims.get(2399)),
    }


def _realm(claims: cbor.Map) -> Facts:
    profile = claim.optional(claims, 265, str, "realm profile")
    if profile is not None and profile not in _REALM_PROFILES:
        raise Rejected("claim_profile", "a profile that is not a CCA realm's")
    size = _HASHES[_known_hash(claim.needed(claims, 44236, str, "realm hash algorithm"))]().digest_size
    extensible = claims.get(44239)
    if not (isinstance(extensible, list) and len(extensible) == _REMS):
        raise Rejected("claim_missing", "realm extensible measurements are missing")
    rems = [claim.sized({0: each}, 0, (size,), "realm extensible measurement") for each in extensible]
    return {
        "measurement": claim.sized(claims, 44238, (size,), "realm initial measurement").hex(),
        **{f"rem{place}": rem.hex() for place, rem in enumerate(rems)},
        "personalisation": claim.sized(claims, 44235, (64,), "realm personalisation value").hex(),
    }


def _known_hash(name: str) -> str:
    if name not in _HASHES:
        raise Rejected("claim_hash", "a hash algorithm that is none of SHA-2")
    return name


def _hash(name: str, data: bytes) -> bytes:
    return _HASHES[_known_hash(name)](data).digest()


def _rak(data: bytes) -> keys.PublicKey:
    """Read a realm's key: a P-384 point, or a COSE_Key in bytes. Raises Rejected: point, key_type, cbor."""
    if data[:1] == b"\x04":
        return keys.point(keys.P384, data)
    found = cbor.decode_map(data)
    if any(found.get(name) != value for name, value in _P384_COSE.items()):
        raise Rejected("key_type", "a realm's key that is not on P-384")
    return keys.point(keys.P384, b"\x04" + claim.sized(found, -2, (48,), "x") + claim.sized(found, -3, (48,), "y"))


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a realm. Raises Rejected(lifecycle) unless the platform is in its secured state."""
    if not verified.facts["secured"]:
        raise Rejected("lifecycle", f"a platform in lifecycle state {verified.facts['lifecycle']}")
    known = str(verified.facts["measurement"]) in reference.images
    claims = {"secured": True, "debug-off": True, "known-image": known}
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        configuration=Value.RECOGNIZED,
        executables=Value.APPROVED_BOOT if known else Value.UNRECOGNIZED,
        hardware=Value.RECOGNIZED,
    )
    return appraised(verified, claims, vector)
