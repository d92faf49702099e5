"""Claims of CBOR tokens, taken one by one with their type and size (evidence.md, E1-E3)."""

from typing import TypeVar

from propolis.crypto import keys
from propolis.crypto.cbor import Map, Value
from propolis.crypto.cose import Signed, check
from propolis.crypto.paths import Roots
from propolis.terms.errors import Rejected

T = TypeVar("T", int, str, bytes)
MAX_TEXT = 512  # characters
MAX_COMPONENTS = 64
MAX_KEYS = 64  # pinned keys that one token is tried with
HASHES = (32, 48, 64)  # bytes
_UEID_RANDOM = 1  # the type of an instance id (RFC 9711, 4.2.1)


def optional(claims: Map, key: int | str, kind: type[T], name: str) -> T | None:
    """Return a claim, or None when it is not there. Raises Rejected(claim_type)."""
    if key not in claims:
        return None
    value = claims[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Rejected("claim_type", f"{name} is no {kind.__name__}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise Rejected("oversize", f"{name} of {len(value)} characters")
    return value


def needed(claims: Map, key: int | str, kind: type[T], name: str) -> T:
    """Return a claim. Raises Rejected: claim_missing, claim_type."""
    value = optional(claims, key, kind, name)
    if value is None:
        raise Rejected("claim_missing", f"{name} is missing")
    return value


def sized(claims: Map, key: int | str, sizes: tuple[int, ...], name: str, reason: str = "claim_size") -> bytes:
    """Return a claim of bytes of one of these sizes. Raises Rejected: claim_missing, claim_type, `reason`."""
    value = needed(claims, key, bytes, name)
    if len(value) not in sizes:
        raise Rejected(reason, f"{name} of {len(value)} bytes")
    return value


def instance(claims: Map, key: int) -> bytes:
    """Return an instance id: 33 bytes, of the random kind. Raises Rejected: claim_missing, claim_type, claim_instance."""
    value = sized(claims, key, (33,), "instance id", "claim_instance")
    if value[0] != _UEID_RANDOM:
        raise Rejected("claim_instance", "an instance id of another kind")
    return value


def components(value: Value) -> tuple[str, ...]:
    """Return software components as "type version measurement signer". Raises Rejected: claim_software, oversize."""
    if not isinstance(value, list) or not value:
        raise Rejected("claim_software", "no software components")
    if len(value) > MAX_COMPONENTS:
        raise Rejected("oversize", f"{len(value)} software components")
    return tuple(_component(each) for each in value)


def _component(each: Value) -> str:
    if not isinstance(each, dict):
        raise Rejected("claim_software", "a software component that is no map")
    measurement = sized(each, 2, HASHES, "measurement", "claim_software")
    signer = sized(each, 5, HASHES, "signer", "claim_software")
    kind, version = optional(each, 1, str, "type") or "-", optional(each, 4, str, "version") or "-"
    return f"{kind} {version} {measurement.hex()} {signer.hex()}"


def secured(lifecycle: int) -> bool:
    """Return whether a security lifecycle is the secured one (RFC 9783, 4.3.1: 0x3000 to 0x30ff)."""
    return lifecycle >> 8 == 0x30


def signer(signed: Signed, roots: Roots) -> bytes:
    """Return the pinned key that signed, as its SubjectPublicKeyInfo.

    Raises Rejected: root_untrusted (no key is pinned), cose_alg, signature.
    """
    why: Rejected | None = None
    for spki in roots.keys[:MAX_KEYS]:
        try:
            check(signed, keys.read(spki))
        except Rejected as error:
            if error.reason == "signature" or why is None:
                why = error  # a key of the right kind says more than one of another
            continue
        return spki
    raise why or Rejected("root_untrusted", "no public key of this maker is pinned")
