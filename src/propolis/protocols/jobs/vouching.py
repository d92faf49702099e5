"""What an owner makes of the evidence beside a guest's receipt (docs/specs/job.md, steps 5a and 6a): nobody else's word counts.

The evidence vouches for this guest's key, of this job, on this node, and answers the owner's own challenge. That its two keys
live in one TPM is shown by nothing yet: it is why the grant is sealed to them (crypto/tpm/bound.py), and opens nowhere else.
"""

from collections.abc import Sequence

import msgspec

from propolis.crypto.binding import Purpose, bind
from propolis.crypto.tpm import bound
from propolis.decisions.appraisal import member
from propolis.decisions.appraisal.member import Judged, Row
from propolis.decisions.appraisal.policy import MEASUREMENTS, Rules
from propolis.decisions.weaknesses import Weaknesses
from propolis.messages import codec
from propolis.messages.attestation import MAX_EVIDENCE, Evidence
from propolis.messages.envelope import Segment
from propolis.terms.calendar import Seconds, day
from propolis.terms.errors import MalformedMessage, Rejected
from propolis.terms.evidence import NOTHING, Attested, Proven
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import JobSpec, Receipt

RESIDENT = "resident-key"
OVERTAKEN_MS = 300_000  # guests of one machine are shown in any order, and again after a reconnect
REHEARSE = "propolis fleet policy rehearse --i-rehearse-with-emulated-tpms"
TABLE = "vouched"  # node -> Row; the owner's own memory of each machine's keys and clock


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """What is proven of the machine under a guest; or `reason`. `machine`: whom the grant has to be sealed to."""

    proven: Proven = NOTHING
    machine: bound.Machine | None = None
    row: Row | None = None
    reason: str = ""


def channel(job: JobId, guest: GuestId) -> bytes:
    """Return what ties evidence to one guest of one job."""
    return bytes(job) + bytes(guest)


def info(job: JobId, guest: GuestId, node: NodeId) -> bytes:
    """Return what a grant sealed to a machine is for."""
    return b"propolis/grant-bound/1" + bytes(job) + bytes(guest) + bytes(node)


def vouch(
    spec: JobSpec,
    receipt: Receipt,
    body: Sequence[Segment],
    rules: Rules,
    known: Weaknesses | None,
    now: Seconds,
    before: Row | None,
) -> Vouched:
    """Judge the evidence beside a receipt. `before`: what we know of the node. Raises nothing for what a node sent."""
    if spec.challenge is None or not body:
        return Vouched(reason="its machine showed no evidence" if spec.challenge is not None else "")
    try:
        judged = _judged(spec, receipt, body, rules, known, now, before)
    except Rejected as error:
        return Vouched(reason=f"its evidence is refused, {error}{_hint(error, rules)}"[:300])
    if judged.pending:
        return Vouched(reason=judged.pending)
    if judged.srk is None:
        return Vouched(reason="its evidence names no storage key that a grant could be sealed to")
    claims = tuple(sorted({*judged.claims, RESIDENT}))
    until = day(min(judged.until, now))
    proven = tuple(
        Attested(technology=name, claims=claims, until=until, emulated=judged.emulated) for name in judged.technologies
    )
    still = {pcr: value for pcr, value in judged.registers.items() if pcr != MEASUREMENTS}
    machine = bound.Machine(ek=judged.ek, ak=judged.ak, srk=judged.srk, registers=still)
    return Vouched(proven=proven, machine=machine, row=judged.row)


def _hint(error: Rejected, rules: Rules) -> str:
    """Return what this owner may do where the fleet rehearses and it does not."""
    declined = error.reason == "emulated" and rules.policy.rehearsal is not None and not rules.rehearses
    return f"; the fleet rehearses with them, you accept that by: {REHEARSE}" if declined else ""


def _judged(
    spec: JobSpec,
    receipt: Receipt,
    body: Sequence[Segment],
    rules: Rules,
    known: Weaknesses | None,
    now: Seconds,
    before: Row | None,
) -> Judged:
    assert spec.challenge is not None
    if sum(map(len, body)) > MAX_EVIDENCE:
        raise Rejected("oversize", f"more than {MAX_EVIDENCE >> 10} KiB of evidence")
    try:
        said: Evidence = codec.decode(body[0], Evidence)
    except MalformedMessage as error:
        raise Rejected("envelope_field", str(error)) from error
    if said.reason:
        raise Rejected("no_evidence", said.reason)
    if said.nonce != spec.challenge.nonce:
        raise Rejected("nonce", "it answers another job's challenge")
    if spec.challenge.pcrs != rules.policy.asked:
        raise Rejected("pcr_select", "the fleet's policy asks for other registers since; submit the job again")
    binding = bind(
        said.nonce,
        receipt.node_id,
        Purpose.GUEST,
        key=receipt.guest_key,
        channel=channel(spec.id, receipt.guest_id),
    )
    shown = member.shown(said, body[1:], rules.policy.bank)
    judged = member.judge(shown, binding, rules, known, now, before=before, slack=OVERTAKEN_MS)
    if before is not None and (before.ek, before.ak) != (judged.row.ek, judged.row.ak):
        raise Rejected("identity", "this node showed other keys before")
    return judged
