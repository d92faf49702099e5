"""Where the dispatcher places what rests on hardware: on what was concluded of a node, while it holds, and nowhere else."""

import msgspec
from hub import JOB, NODE, OWNER, SPEC, Hub, finish

from propolis.decisions.privacy import requirement_for
from propolis.messages import jobs as say
from propolis.messages.attestation import MAX_EVIDENCE
from propolis.protocols import session
from propolis.protocols.jobs import hosting
from propolis.terms.evidence import NOTHING, Attested
from propolis.terms.job import Challenge

OTHER = b"q" * 32
MEASURED = msgspec.structs.replace(
    SPEC,
    requirement=requirement_for("measured"),
    challenge=Challenge(nonce=b"c" * 32, pcrs=(0, 4, 7), bank=11),
)
CLAIMS = ("endorsed", "firmware-not-known-bad", "known-image", "lockdown", "resident-key", "secure-boot")
PROVEN = (Attested(technology="measured-boot", claims=CLAIMS, until="2099-01-01"),)


def hub_with(*nodes):
    hub = Hub()
    hub.enter(*nodes)
    hub.upload(MEASURED)
    return hub


def proves(hub, node, proven=PROVEN, reason=""):
    hub.tell(session.NodeProven(node, proven, reason))


def test_a_job_waits_until_a_node_proves_itself_and_runs_there_alone():
    hub = hub_with(NODE, OTHER)
    assert not hub.machine.desk.guests
    assert "nothing here proves result-integrity" in hub.machine.desk.jobs[JOB].reason
    proves(hub, NODE)
    assert {guest.node for guest in hub.machine.desk.guests.values()} == {NODE}
    finish(hub)
    assert hub.machine.desk.jobs[JOB].finished.full


def test_one_claim_less_is_no_proof():
    hub = hub_with(NODE)
    for claim in CLAIMS:
        proves(hub, NODE, (msgspec.structs.replace(PROVEN[0], claims=tuple(c for c in CLAIMS if c != claim)),))
        assert not hub.machine.desk.guests, claim
        assert f"lacks {claim}" in hub.machine.desk.jobs[JOB].reason


def test_what_is_proven_no_more_ends_its_guests_at_once_and_says_why():
    hub = hub_with(NODE, OTHER)
    proves(hub, NODE)
    guests = hub.serving(NODE)
    assert guests
    proves(hub, NODE, NOTHING, "pcr_drift: other software was measured")
    assert not hub.machine.desk.guests
    closed = {guest for message in hub.said_to(NODE, say.CloseGuests) for guest in message.guests}
    assert {guest.id for guest in guests} <= closed
    assert any("pcr_drift" in line for line in hub.machine.desk.jobs[JOB].events)
    assert "pcr_drift" in hub.machine.desk.jobs[JOB].reason
    proves(hub, OTHER)
    assert {guest.node for guest in hub.machine.desk.guests.values()} == {OTHER}


def test_a_renewed_proof_disturbs_nobody():
    hub = hub_with(NODE)
    proves(hub, NODE)
    guests = hub.serving(NODE)
    proves(hub, NODE)
    assert hub.guests(NODE) == guests


def test_a_guest_that_comes_back_on_a_node_that_proves_nothing_is_closed():
    hub = hub_with(NODE)
    proves(hub, NODE)
    (guest, *_) = hub.serving(NODE)
    hub.enter(NODE)  # a fresh session: what an earlier one concluded is not carried over
    held = say.HeldGuest(
        job=JOB, guest=guest.id, serving=True, receipt=b"r", signature=bytes(64), indices=(), attempts=()
    )
    hub.tell(session.Said(NODE, say.Resume(guests=(held,)), ()))
    assert not hub.machine.desk.guests


def test_a_denied_node_is_asked_again_once_it_proved_itself_anew():
    hub = hub_with(NODE)
    proves(hub, NODE)
    hub.step(NODE)
    (guest, *_) = hub.guests(NODE)
    hub.tell(session.Said(OWNER, say.Denied(job=JOB, guest=guest.id, reason="nonce"), ()))
    assert NODE in hub.machine.desk.jobs[JOB].barred
    proves(hub, NODE)
    assert NODE not in hub.machine.desk.jobs[JOB].barred


def test_evidence_is_passed_to_the_owner_once_and_more_than_is_taken_is_passed_to_nobody():
    hub = hub_with(NODE)
    proves(hub, NODE)
    (first, *_) = hub.guests(NODE)
    ready = say.GuestReady(job=JOB, guest=first.id, receipt=b"r", signature=bytes(64))
    hub.tell(session.Said(NODE, ready, (b"evidence", b"log", b"")))
    assert first.evidence == (b"evidence", b"log", b"")
    hub.tell(session.Said(OWNER, say.Grant(job=JOB, guest=first.id, sealed=b"s"), ()))
    assert first.evidence == ()
    proves(hub, NODE, NOTHING)
    proves(hub, NODE)
    for body in ((b"e", bytes(MAX_EVIDENCE), b""), (b"e",), (b"",) * 4):
        (guest, *_) = [g for g in hub.guests(NODE) if g.phase == "starting"]
        hub.tell(session.Said(NODE, msgspec.structs.replace(ready, guest=guest.id), body))
        assert guest.evidence == ()
        proves(hub, NODE, NOTHING)
        proves(hub, NODE)


def test_evidence_that_waits_for_owners_is_bounded_for_each_node(monkeypatch):
    monkeypatch.setattr(hosting, "MAX_EVIDENCE_WAITING", 10)
    hub = hub_with(NODE)
    proves(hub, NODE)
    first, second, *_ = hub.guests(NODE)
    for guest in (first, second):
        ready = say.GuestReady(job=JOB, guest=guest.id, receipt=b"r", signature=bytes(64))
        hub.tell(session.Said(NODE, ready, (b"evidence", b"", b"")))
    assert [sum(map(len, guest.evidence)) for guest in (first, second)] == [8, 0]


def test_what_a_node_says_it_can_show_proves_nothing():
    hub = Hub()
    hub.enter(NODE, shows=("tpm2-quote/1",))
    hub.upload(MEASURED)
    assert not hub.machine.desk.guests


def test_a_job_that_may_run_nowhere_takes_no_turn_from_its_owners_others():
    hub = hub_with(NODE)
    assert not hub.machine.desk.guests
    other = msgspec.structs.replace(SPEC, job=b"J" * 16)
    hub.upload(other)
    assert hub.guests(NODE, b"J" * 16)


def test_a_denied_key_forgives_a_node_nothing_it_was_barred_for():
    """What its owner denied is asked anew when the node proves itself anew; what it did is not."""
    hub = Hub()
    hub.enter(NODE, slots=8)
    hub.upload(MEASURED)
    proves(hub, NODE)
    *struck, last = sorted(hub.guests(NODE), key=lambda guest: guest.id)
    ready = say.GuestReady(job=JOB, guest=last.id, receipt=b"r", signature=bytes(64))
    hub.tell(session.Said(NODE, ready, ()))
    for guest in struck[:5]:
        hub.tell(session.Said(NODE, say.GuestGone(job=JOB, guest=guest.id, code="executor.crashed", reason="x"), ()))
    assert "did not serve" in hub.machine.desk.jobs[JOB].barred[NODE]
    hub.tell(session.Said(OWNER, say.Denied(job=JOB, guest=last.id, reason="no evidence"), ()))
    proves(hub, NODE, (msgspec.structs.replace(PROVEN[0], until="2099-01-02"),))
    assert "did not serve" in hub.machine.desk.jobs[JOB].barred.get(NODE, "")
