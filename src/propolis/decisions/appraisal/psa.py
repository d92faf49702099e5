"""PSA tokens (RFC 9783, and the older profile with private claims), signed by a pinned attestation key (evidence.md, A1-A6).

The key is pinned as a public key: nobody has certificates for these. Tokens under a MAC are refused.
"""

from functools import lru_cache
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.crypto import cbor, cose, keys
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

TECHNOLOGY = "psa"
PROFILES = ("http://arm.com/psa/2.0.0", "tag:psacertified.org,2023:psa#tfm")
_PROFILE = 265


class _Keys(msgspec.Struct, frozen=True):
    """Where a profile has its claims."""

    nonce: int
    instance: int
    implementation: int
    client: int
    lifecycle: int
    software: int
    boot_seeds: tuple[int, ...]
    certification: int


_SECOND = _Keys(10, 256, 2396, 2394, 2395, 2399, (268, 2397), 2398)
_FIRST = _Keys(-75008, -75009, -75003, -75001, -75002, -75006, (-75004,), -75005)
_FIRST_PROFILE = -75000


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a token. Raises Rejected."""
    signed = cose.parse(cbor.decode(evidence))
    key = claim.signer(signed, roots)
    claims = cbor.decode_map(signed.payload)
    places, profile = _profile(claims)
    answer = claim.sized(claims, places.nonce, claim.HASHES, "nonce", "claim_nonce")
    fresh = exactly(nonce, answer)
    instance = claim.instance(claims, places.instance)
    lifecycle = claim.needed(claims, places.lifecycle, int, "security lifecycle")
    seeds = [place for place in places.boot_seeds if place in claims]
    return Verified(
        technology=TECHNOLOGY,
        identity=f"instance:{instance.hex()}",
        facts={
            "profile": profile,
            "nonce": answer.hex(),
            "instance-id": instance.hex(),
            "implementation-id": claim.sized(claims, places.implementation, (32,), "implementation id").hex(),
            "client-id": claim.needed(claims, places.client, int, "client id"),
            "lifecycle": lifecycle,
            "secured": claim.secured(lifecycle),
            "software": claim.components(claims.get(places.software)),
            "boot-seed": claim.sized(claims, seeds[0], tuple(range(8, 33)), "boot seed").hex() if seeds else "",
            "certification": claim.optional(claims, places.certification, str, "certification reference") or "",
            "key-bound": instance[1:] == key_hash(key),
        },
        fresh=fresh,
        until=expires(now),
    )


def _profile(claims: cbor.Map) -> tuple[_Keys, str]:
    if _PROFILE in claims:
        profile = claim.needed(claims, _PROFILE, str, "profile")
        if profile not in PROFILES:
            raise Rejected("claim_profile", "a profile that is not PSA's")
        return _SECOND, profile
    if any(isinstance(key, int) and -75010 <= key <= -75000 for key in claims):
        return _FIRST, claim.optional(claims, _FIRST_PROFILE, str, "profile") or "PSA_IOT_PROFILE_1"
    raise Rejected("claim_profile", "a token without a PSA profile")


@lru_cache(maxsize=256)  # a value of a value: pinned keys are few
def key_hash(spki: bytes) -> bytes:
    """Return SHA-256 of an EC key's point, which an instance id may be of; empty for other keys."""
    key = keys.read(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return b""
    return sha256(key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).digest()


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a token. Raises Rejected(lifecycle) unless the chip is in its secured state."""
    if not verified.facts["secured"]:
        raise Rejected("lifecycle", f"a chip in lifecycle state {verified.facts['lifecycle']}")
    software = verified.facts["software"]
    known = isinstance(software, tuple) and all(each.split()[-2] in reference.images for each in software)
    claims = {"secured": True, "known-image": known}
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        configuration=Value.RECOGNIZED,
        executables=Value.APPROVED_BOOT if known else Value.UNRECOGNIZED,
        hardware=Value.RECOGNIZED,
    )
    return appraised(verified, claims, vector)
