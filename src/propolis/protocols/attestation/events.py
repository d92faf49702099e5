"""What the machines of attestation ask of the world, and what they tell the other machines of their party."""

import msgspec

from propolis.crypto.ear import Result
from propolis.decisions.appraisal.member import Judged, Row
from propolis.decisions.appraisal.policy import Rules
from propolis.messages.attestation import Evidence
from propolis.messages.envelope import Segment
from propolis.protocols.machine import Work
from propolis.terms.identity import NodeId


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What an appraisal came to: `judged`, or `reason`, the code of the step that refused it, and nothing else."""

    reason: str = ""
    text: str = ""
    judged: Judged | None = None


# -- at the verifier


class Appraise(Work, frozen=True):
    """Judge evidence (`appraising.conclude`, off the loop); WorkDone(result=Conclusion).

    `before`: what is known of the node; `leased`: what was concluded from it still holds.
    """

    node: NodeId
    evidence: Evidence
    body: tuple[Segment, ...]
    rules: Rules
    before: Row | None
    leased: bool


class SignResult(Work, frozen=True):
    """Sign a result with the verifier's key; WorkDone(result=str), the EAR."""

    result: Result


# -- at the node


class Show(Work, frozen=True):
    """Quote; WorkDone(result=(Evidence, body))."""

    nonce: bytes
    binding: bytes
    pcrs: tuple[int, ...]
    bank: int


class OpenCredential(Work, frozen=True):
    """Let the TPM open a credential; WorkDone(result=bytes)."""

    blob: bytes
    secret: bytes
