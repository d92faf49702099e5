"""Members that starve others by doing nothing: nodes that stay silent about guests, owners that grant no key or take all."""

import msgspec
import pytest
from hub import EVIL, GUEST, JOB, NODE, OWNER, SPEC, Hub

from propolis.messages import jobs as say
from propolis.protocols import session
from propolis.protocols.jobs import planning
from propolis.protocols.machine import TimePassed

OTHER, VICTIM = b"f" * 32, b"v" * 16


def run_honest(hub, seconds, job=JOB, node=NODE):
    """The honest node serves; everybody else says nothing."""
    end = hub.now + seconds
    while hub.now < end and not hub.machine.desk.jobs[job].finished.full:
        hub.step(node, job)
        hub.tell(TimePassed())
        if not any(g.phase != "offered" or g.outstanding for g in hub.guests(node, job)):
            hub.wait(1.0)
    return hub.machine.desk.jobs[job]


@pytest.mark.parametrize("slots", [1, 4096])
def test_a_node_that_stays_silent_about_its_guests_starves_nobody(slots):
    hub = Hub()
    hub.enter(EVIL, slots=slots, speed=1e12)
    hub.enter(NODE)
    hub.upload()
    assert len(hub.guests(EVIL)) <= 2, "what a node claims is bounded by its peers until it served"
    assert hub.guests(NODE)
    assert run_honest(hub, 60).finished.full


@pytest.mark.parametrize("phase", ["starting", "granted", "serving"])
def test_a_silent_guest_is_closed_and_its_node_barred(phase):
    hub = Hub()
    hub.enter(EVIL)
    hub.upload()
    for _ in range(400):
        for guest in hub.guests(EVIL):
            if guest.phase != phase:
                hub.step(EVIL, results=False)
        hub.wait(10)
        if EVIL in hub.machine.desk.jobs[JOB].barred:
            break
    job = hub.machine.desk.jobs[JOB]
    assert phase in job.barred[EVIL]
    assert not job.guests
    hub.enter(NODE)
    assert run_honest(hub, 60).finished.full


def test_tasks_withheld_at_the_tail_run_on_another_node_too_and_count_once():
    hub = Hub()
    hub.enter(EVIL, NODE, slots=1)
    hub.upload()
    (evil,) = hub.serving(EVIL)
    held = dict(evil.outstanding)
    assert held
    began = hub.now
    job = run_honest(hub, 60)
    assert job.finished.full
    assert hub.now - began < SPEC.needs.task_seconds, "long before its time limit"
    hub.tell(session.Said(EVIL, say.TasksEnded(
        job=JOB, guest=evil.id, indices=tuple(held.values()), attempts=tuple(held), milliseconds=1.0
    ), (b"late",) * len(held)))  # fmt: skip
    results = [item.index for message in hub.said_to(OWNER, say.Results) for item in message.items]
    assert sorted(results) == list(range(SPEC.tasks))


def test_an_owner_that_never_grants_holds_no_slot_for_long():
    hub = Hub()
    hub.enter(NODE)
    hub.upload()
    hub.step(NODE, grant=False)
    hub.upload(
        msgspec.structs.replace(SPEC, job=VICTIM, program=msgspec.structs.replace(SPEC.program, blob=b"q" * 32)), OTHER
    )
    for _ in range(200):
        hub.step(NODE, grant=False)
        hub.step(NODE, VICTIM)
        hub.wait(0.5)
    assert hub.machine.desk.jobs[VICTIM].finished.full
    assert hub.machine.desk.jobs[JOB].ungranted, "and the job rests"


@pytest.mark.parametrize("slots", [1, 4])
def test_an_owner_with_many_tasks_leaves_a_later_owner_its_share(slots):
    hub = Hub()
    hub.enter(NODE, slots=slots)
    hub.upload(msgspec.structs.replace(SPEC, tasks=3000))
    hub.serving(NODE)
    hub.step(NODE)
    assert len(hub.guests(NODE)) == slots
    hub.upload(
        msgspec.structs.replace(SPEC, job=VICTIM, program=msgspec.structs.replace(SPEC.program, blob=b"q" * 32)), OTHER
    )
    most = 0
    for _ in range(400):
        for guest in hub.guests(NODE):
            guest.pace = 1000.0  # slow tasks: the first owner's work does not end by itself
        hub.step(NODE)
        hub.step(NODE, VICTIM)
        hub.tell(TimePassed())
        most = max(most, len(hub.guests(NODE, VICTIM)))
    assert most == max(1, slots // 2)
    assert hub.machine.desk.jobs[VICTIM].finished.full
    assert not hub.machine.desk.jobs[JOB].finished.full
    assert hub.guests(NODE), "and the first gets back what the second no longer needs"


def test_entering_again_erases_no_strike():
    hub = Hub()
    hub.enter(EVIL)
    hub.upload()
    for _ in range(200):
        for guest in hub.guests(EVIL):
            gone = say.GuestGone(job=JOB, guest=guest.id, code="executor.crashed", reason="no")
            hub.tell(session.Said(EVIL, gone, ()))
        hub.enter(EVIL)
        hub.wait(1)
    assert EVIL in hub.machine.desk.jobs[JOB].barred


def test_strikes_wear_off_with_time():
    hub = Hub()
    hub.enter(NODE)
    hub.upload(msgspec.structs.replace(SPEC, tasks=1))
    for _ in range(20):
        for guest in hub.guests(NODE):
            gone = say.GuestGone(job=JOB, guest=guest.id, code="executor.crashed", reason="no")
            hub.tell(session.Said(NODE, gone, ()))
        hub.tell(session.OwnerLost(OWNER))
        hub.wait(300)
        hub.tell(session.OwnerEntered(OWNER))
    assert not hub.machine.desk.jobs[JOB].barred


def test_more_guests_than_one_message_names_are_asked_for_in_several():
    hub = Hub()
    hub.enter(NODE, slots=512)
    hub.upload(msgspec.structs.replace(SPEC, tasks=4000))
    hub.machine.desk.jobs[JOB].served.add(NODE)
    hub.wait(1)
    hub.tell(session.OwnerEntered(OWNER))
    assert len(hub.guests(NODE)) == 512
    assert all(len(m.guests) <= 256 for m in hub.said_to(NODE, say.OpenGuests))
    hub.tell(session.Said(OWNER, say.Stop(job=JOB), ()))
    assert sum(len(m.guests) for m in hub.said_to(NODE, say.CloseGuests)) == 512
    assert not hub.machine.desk.guests.get(GUEST)


def test_a_round_considers_a_bounded_number_of_jobs_and_all_in_turn():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    for n in range(600):
        spec = msgspec.structs.replace(SPEC, job=n.to_bytes(16, "big"), tasks=1)
        hub.tell(session.Said(OWNER, say.Submit(spec=spec), ()))
    hub.wait(2)
    assert all(job.reason == "no input has arrived yet" for job in hub.machine.desk.jobs.values())
    before = hub.machine.desk.planned
    planning.plan(hub.machine.desk, hub.now)
    assert hub.machine.desk.planned - before == 256
