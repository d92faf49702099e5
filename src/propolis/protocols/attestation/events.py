"""What the machines of attestation ask of the world, and what they tell the other machines of their party."""

from collections.abc import Mapping

import msgspec

from propolis.crypto.ear import Result
from propolis.crypto.tpm.attest import Clock
from propolis.messages.attestation import Evidence
from propolis.messages.envelope import Segment
from propolis.protocols.machine import Work
from propolis.protocols.session import Change
from propolis.terms.evidence import Proven
from propolis.terms.identity import NodeId
from propolis.terms.trust import Vector


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What is kept of a node: its keys' Names, and the clock when it was seen last. Changed by the operator's word only."""

    ek: bytes
    ak: bytes
    srk: bytes
    clock: tuple[int, int, int, bool, int]  # Clock's fields, in order

    @property
    def last(self) -> Clock:
        """The clock, typed."""
        clock, resets, restarts, safe, firmware = self.clock
        return Clock(clock=clock, resets=resets, restarts=restarts, safe=safe, firmware=firmware)


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What an appraisal came to. Refused: `reason` is the code of the step, and nothing else counts."""

    reason: str = ""
    text: str = ""
    row: Row | None = None
    ek: bytes = b""  # public areas, for the credential
    ak: bytes = b""
    claims: tuple[str, ...] = ()  # without what only an activation shows
    until: float = 0.0  # seconds since 1970 at which something it rests on ends
    vector: Vector = Vector()
    emulated: bool = False


# -- at the verifier


class Appraise(Work, frozen=True):
    """Judge evidence (decisions/appraisal, off the loop); WorkDone(result=Conclusion). `before`: what is known of the node."""

    node: NodeId
    evidence: Evidence
    body: tuple[Segment, ...]
    before: Row | None


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


# -- to the other machines of the party


class NodeProven(Change, frozen=True):
    """What is proven of a node from now on; nothing, with the reason, when it is not or not any more."""

    node: NodeId
    proven: Proven
    emulated: bool = False
    reason: str = ""


Values = Mapping[int, bytes]
