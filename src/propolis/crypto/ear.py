"""EAR, the EAT Attestation Result (draft-ietf-rats-ear-04): a JWT that a verifier signs with Ed25519 (RFC 7519, 8037, 9864).

Signing is somebody's key home; checking is here. What is read back is strict: one algorithm, no other header, one submodule.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from propolis.terms.credential import Moment
from propolis.terms.errors import Rejected
from propolis.terms.identity import NodeId
from propolis.terms.trust import Tier, Vector

PROFILE = "tag:ietf.org,2026:rats/ear#04"
SUBMODULE = "node"
MAX_EAR = 16 * 1024
_HEADER = {"alg": "EdDSA", "typ": "JWT"}

Text = Annotated[str, msgspec.Meta(max_length=300)]
Sign = Callable[[bytes], bytes]
"""Sign bytes with the verifier's Ed25519 key."""


class VerifierId(msgspec.Struct, frozen=True):
    """Who verified (ear_verifier_id)."""

    developer: Text
    build: Text


class Appraisal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The one submodule: status, vector, the policy, and our own words on it."""

    status: Tier = msgspec.field(name="ear_status")
    vector: Vector = msgspec.field(name="ear_trustworthiness_vector", default=Vector())
    policies: tuple[Text, ...] = msgspec.field(name="ear_appraisal_policy_ids", default=())
    claims: tuple[Text, ...] = msgspec.field(name="propolis_claims", default=())
    technology: Text = msgspec.field(name="propolis_technology", default="")  # the kind of evidence
    technologies: tuple[Text, ...] = msgspec.field(name="propolis_technologies", default=())  # what it speaks of
    emulated: bool = msgspec.field(name="propolis_emulated", default=False)
    reason: Text = msgspec.field(name="propolis_reason", default="")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The claims set. `iat`, `exp` in whole seconds since 1970; `node` is the subject's Ed25519 key in hex."""

    iat: Moment
    exp: Moment
    node: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)] = msgspec.field(name="propolis_node")
    verifier: VerifierId = msgspec.field(name="ear_verifier_id")
    submods: dict[str, Appraisal]
    profile: Text = msgspec.field(name="eat_profile", default=PROFILE)
    nonce: Text = msgspec.field(name="eat_nonce", default="")


def sign(result: Result, sign_bytes: Sign) -> str:
    """Return the compact JWT."""
    head, body = _text(msgspec.json.encode(_HEADER)), _text(msgspec.json.encode(result))
    signed = f"{head}.{body}"
    return f"{signed}.{_text(sign_bytes(signed.encode('ascii')))}"


def verify(ear: str, verifier: NodeId, now: float) -> Result:
    """Check and read an EAR. Raises Rejected: oversize, ear_format, ear_alg, signature, ear_claims, ear_expired."""
    result = signed(ear, verifier)
    if not result.iat <= now < result.exp:
        raise Rejected("ear_expired", "it holds no more, or not yet")
    return result


def signed(ear: str, verifier: NodeId) -> Result:
    """Check and read an EAR whatever the time: what it said, not what holds. Raises Rejected: as `verify`, but ear_expired."""
    if len(ear) > MAX_EAR:
        raise Rejected("oversize", f"an EAR of {len(ear)} letters")
    parts = ear.split(".")
    if len(parts) != 3:
        raise Rejected("ear_format", "not three parts")
    head, body, signature = map(_bytes, parts)
    try:
        header = msgspec.json.decode(head, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Rejected("ear_format", "its header is none") from error
    if header != _HEADER:
        raise Rejected("ear_alg", "signed in another way than Ed25519")
    try:
        Ed25519PublicKey.from_public_bytes(verifier).verify(signature, ear.rpartition(".")[0].encode("ascii"))
    except (InvalidSignature, ValueError) as error:
        raise Rejected("signature", "this verifier did not sign it") from error
    try:
        result = msgspec.json.decode(body, type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("ear_claims", str(error)) from error
    if set(result.submods) != {SUBMODULE} or result.profile != PROFILE:
        raise Rejected("ear_claims", "not an appraisal of a node")
    return result


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    """Decode base64url without padding, strictly: one text for one value."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Rejected("ear_format", "a part is no base64url") from error
    if _text(data) != text:
        raise Rejected("ear_format", "a part with spare bits")
    return data
