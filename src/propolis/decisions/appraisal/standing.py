"""From Intel's TCB status to claims and vector, the same for SGX and TDX (evidence.md, L8)."""

from propolis.decisions.appraisal import levels
from propolis.decisions.appraisal.result import Appraised, Reference, Verified, appraised
from propolis.terms.requirement import Claim
from propolis.terms.trust import Value, Vector

_NEEDS_CONFIGURATION = (
    levels.CONFIGURATION,
    levels.BOTH,
    levels.OLD_AND_CONFIGURATION,
    levels.RELAUNCH_AND_CONFIGURATION,
)


def concluded(verified: Verified, reference: Reference, more: dict[Claim, bool]) -> Appraised:
    """Conclude claims and vector. Only UpToDate is current: hardening and configuration are not seen from outside."""
    status = verified.facts["tcb-status"]
    current = status == levels.UP_TO_DATE and bool(verified.facts["revocation-checked"])
    known = str(verified.facts["measurement"]) in reference.images
    claims = {"debug-off": True, "tcb-current": current, "known-image": known, **more}
    unknown = status == "unknown"
    vector = Vector(
        instance_identity=Value.RECOGNIZED,
        configuration=Value.UNSAFE if status in _NEEDS_CONFIGURATION else Value.RECOGNIZED,
        executables=Value.APPROVED_BOOT if known else Value.UNRECOGNIZED,
        hardware=0 if unknown else Value.RECOGNIZED if current else Value.UNSAFE,
        runtime_opaque=Value.RECOGNIZED if current else 0,
    )
    return appraised(verified, claims, vector)
