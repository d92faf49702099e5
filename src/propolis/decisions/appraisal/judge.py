"""One judgement of one piece of evidence, from bytes to verdict: unwrap, verify, appraise (evidence.md, V1-V8)."""

import msgspec

from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import registry
from propolis.decisions.appraisal.result import NO_REFERENCE, Appraised, Endorsements, Reference, Verified
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict. Refused: `reason` is the code of the first step that failed, and there is nothing else."""

    reason: str = ""
    text: str = ""
    verified: Verified | None = None
    appraised: Appraised | None = None

    @property
    def ok(self) -> bool:
        """Whether the evidence is what it says; its status may still be a warning, or worse."""
        return not self.reason


def judge(
    kind: str,
    data: bytes,
    *,
    endorsements: Endorsements,
    nonce: bytes | None,
    roots: Roots,
    now: Seconds,
    reference: Reference = NO_REFERENCE,
) -> Judgement:
    """Judge evidence as it is kept in a file. Raises nothing for what a stranger sent."""
    try:
        bare, technology = registry.find(kind)
        evidence, brought = technology.unwrap(data, bare)
        verified = technology.verify(evidence, brought.joined(endorsements), nonce, roots, now)
        return Judgement(verified=verified, appraised=technology.appraise(verified, reference))
    except Rejected as error:
        return Judgement(reason=error.reason, text=str(error))
