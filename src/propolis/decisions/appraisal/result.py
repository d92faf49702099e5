"""What verification and appraisal hand on: cryptographic facts first, then what a policy makes of them (RFC 9334).

`Verified` says what is signed by whom, with names for what is bad about it; only `Appraised` judges. The vector is AR4SI's
(draft-ietf-rats-ar4si, 2.3): every dimension starts at "nothing known" and is raised by a named fact.
"""

from typing import Protocol

import msgspec

from propolis.crypto.crl import RevocationList
from propolis.crypto.paths import Roots
from propolis.crypto.x509 import Certificate
from propolis.terms.calendar import DAY, Seconds, day
from propolis.terms.errors import Rejected
from propolis.terms.evidence import Attested
from propolis.terms.requirement import Claim
from propolis.terms.trust import Tier, Value, Vector

Fact = str | int | bool | tuple[str, ...] | None
Facts = dict[str, Fact]

MAX_NONCE = 64  # bytes; the largest field any technology has
MAX_ENDORSEMENTS = 1024  # certificates, and lists, and documents: a folder for all vendors has about a hundred
_UNREADABLE = (
    "truncated",
    "trailing",
    "oversize",
    "version",
    "der",
    "pem",
    "cbor",
    "cose_shape",
    "tee",
    "magic",
    "envelope_",
)
_UNSAFE = ("debug", "migratable", "vmpl", "sept_ve", "service_td", "lifecycle", "ak_attrs")


class Endorsements(msgspec.Struct, frozen=True, kw_only=True):
    """What vendors say, brought along by anybody: certificates, revocation lists, JSON documents. Trusted only by signature;
    event logs, which are worth what registers they replay to."""

    certificates: tuple[Certificate, ...] = ()
    lists: tuple[RevocationList, ...] = ()
    documents: tuple[bytes, ...] = ()
    logs: tuple[bytes, ...] = ()

    def joined(self, other: "Endorsements") -> "Endorsements":
        """Return both together. Raises Rejected(oversize)."""
        both = Endorsements(
            certificates=tuple({each.raw: each for each in (*self.certificates, *other.certificates)}.values()),
            lists=tuple({each.raw: each for each in (*self.lists, *other.lists)}.values()),
            documents=(*self.documents, *other.documents),
            logs=(*self.logs, *other.logs),
        )
        if max(len(both.certificates), len(both.lists), len(both.documents), len(both.logs)) > MAX_ENDORSEMENTS:
            raise Rejected("oversize", "more endorsements than anybody needs")
        return both


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence whose signatures hold. `identity` names who signed, the same from report to report of one machine or key.

    `fresh`: a nonce was demanded and is in what was signed. `until`: the second at which something it rests on ends.
    """

    technology: Claim
    identity: str
    facts: Facts
    fresh: bool
    until: Seconds


class Appraised(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy makes of verified evidence."""

    attested: Attested
    vector: Vector
    status: Tier


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Reference values: measurements that are known, and the least firmware a maker still stands behind.

    `images` are hex, as the technology's main measurement is. `least` maps (technology, part) to a version.
    """

    images: frozenset[str] = frozenset()
    least: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)


NO_REFERENCE = Reference()


class Verify(Protocol):
    """A technology's verification. Raises Rejected with the reason of the first step that fails."""

    def __call__(
        self, evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds
    ) -> Verified:
        """Verify."""


class Appraise(Protocol):
    """A technology's appraisal under the house's default policy. Raises Rejected for what no policy of ours takes."""

    def __call__(self, verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
        """Appraise."""


def appraised(verified: Verified, claims: dict[Claim, bool], vector: Vector) -> Appraised:
    """Put together what a technology concluded: claims that are true, and the status the vector comes to."""
    held = tuple(sorted(claim for claim, holds in claims.items() if holds))
    attested = Attested(technology=verified.technology, claims=held, until=day(verified.until))
    return Appraised(attested=attested, vector=vector, status=status(vector, verified))


def status(vector: Vector, verified: Verified) -> Tier:
    """Return EAR's overall status: the worst of the vector; affirming only of what is fresh and wholly looked at."""
    looked_at = (vector.instance_identity, vector.configuration, vector.executables, vector.hardware)
    if vector.status is Tier.AFFIRMING and not (all(looked_at) and verified.fresh):
        return Tier.NONE
    return vector.status


def refused(reason: str) -> Vector:
    """Return the vector of evidence that was refused: unexpected, unsafe, or not what it says it is."""
    if reason.startswith(_UNREADABLE):
        return _all(Value.UNEXPECTED)
    if reason in _UNSAFE:
        return Vector(configuration=Value.CONTRAINDICATED)
    if reason.startswith("tcb_"):
        return Vector(hardware=Value.CONTRAINDICATED)
    return _all(Value.CRYPTO_FAILED)


def _all(value: Value) -> Vector:
    return Vector(**dict.fromkeys(Vector.__struct_fields__, value))


def bound(nonce: bytes | None, field: bytes) -> bool:
    """Return whether a nonce is demanded; it must fill the field, or begin it with only zeros after it (N1, N2).

    Raises Rejected(nonce).
    """
    if nonce is None:
        return False
    if not 1 <= len(nonce) <= min(MAX_NONCE, len(field)) or field != nonce.ljust(len(field), b"\0"):
        raise Rejected("nonce", "the evidence is not an answer to this nonce")
    return True


def exactly(nonce: bytes | None, found: bytes | None) -> bool:
    """Return whether a nonce is demanded; it must be all of what was signed (N1, N3). Raises Rejected(nonce)."""
    if nonce is None:
        return False
    if not 1 <= len(nonce) <= MAX_NONCE or found != nonce:
        raise Rejected("nonce", "the evidence is not an answer to this nonce")
    return True


def expires(now: Seconds, *ends: Seconds) -> Seconds:
    """Return until when a result holds: a day at most, and no longer than anything it rests on."""
    return min((now + DAY, *ends))
