"""Members that say what is not so: resumed work that never was, faults, results too big, programs of others, endless bytes."""

import msgspec
import pytest
from hub import EVIL, GUEST, JOB, NODE, OWNER, REPORT, SPEC, Hub, finish

from propolis.messages import jobs as say
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.desk import DispatcherConfig
from propolis.protocols.machine import TimePassed
from propolis.terms.job import MAX_TASK_BYTES, JobState

THIRD, OTHER = b"t" * 32, b"f" * 32


@pytest.mark.parametrize(
    ("indices", "attempts", "stored"),
    [
        ((0, 1, 2), (5, 5, 5), True),
        ((1, 1), (5, 6), True),
        ((0,), (1 << 60,), True),
        ((0, 1), (5,), True),
        ((0,), (5,), False),
    ],
)
def test_a_resume_of_work_that_cannot_be_loses_no_task(indices, attempts, stored):
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    if stored:
        hub.upload()
    hub.tell(session.NodeEntered(EVIL, msgspec.structs.replace(REPORT, slots=1), ()))
    held = say.HeldGuest(
        job=JOB, guest=GUEST, serving=True, receipt=b"", signature=b"", indices=indices, attempts=attempts
    )
    hub.tell(session.Said(EVIL, say.Resume(guests=(held,)), ()))
    assert GUEST not in hub.machine.desk.guests
    assert any(GUEST in message.guests for message in hub.said_to(EVIL, say.CloseGuests))
    hub.tell(session.NodeLost(EVIL))
    hub.enter(NODE)
    hub.upload()
    finish(hub)
    assert hub.machine.desk.jobs[JOB].finished.full


def die(hub, node, reason="poison"):
    """Every serving guest of the node dies at its first task."""
    died = 0
    for guest in hub.serving(node):
        if guest.id in hub.machine.desk.guests and guest.outstanding:
            culprit = next(iter(guest.outstanding))
            gone = say.GuestGone(job=JOB, guest=guest.id, code="executor.crashed", reason=reason, culprit=culprit)
            hub.tell(session.Said(node, gone, ()))
            died += 1
    return died


def test_one_node_fails_no_task_with_its_word():
    hub = Hub()
    hub.enter(EVIL, NODE, slots=1)
    hub.upload()
    job = hub.machine.desk.jobs[JOB]
    for _ in range(300):
        die(hub, EVIL)
        hub.step(NODE)
        hub.wait(0.2)
        if job.finished.full:
            break
    assert job.state is JobState.DONE
    assert not job.failed
    assert EVIL in job.barred


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_a_task_that_kills_its_guests_fails_after_three_nodes_or_three_rests(nodes):
    hub = Hub()
    names = [bytes([n + 1]) * 32 for n in range(nodes)]
    hub.enter(*names, slots=1)
    hub.upload(msgspec.structs.replace(SPEC, tasks=1))
    died = []
    for _ in range(100):
        for name in names:
            died += [name] * die(hub, name)
        hub.wait(2)
    job = hub.machine.desk.jobs[JOB]
    assert job.state is JobState.FAILED
    assert len(set(died)) == min(3, nodes)
    assert len(died) == 4, "once among others, three times alone"


def unload(hub, node):
    """Every guest of the node that has its key dies while it loads."""
    ended = 0
    for _ in range(2):
        hub.step(node, results=False)
    for guest in hub.guests(node):
        if guest.phase == "granted":
            gone = say.GuestGone(job=JOB, guest=guest.id, code="executor.crashed", reason="it ended by itself")
            hub.tell(session.Said(node, gone, ()))
            ended += 1
    return ended


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_a_program_that_never_loads_fails_its_job_after_three_nodes_or_three_rests(nodes):
    hub = Hub()
    names = [bytes([n + 1]) * 32 for n in range(nodes)]
    hub.enter(*names, slots=3)
    hub.upload()
    job = hub.machine.desk.jobs[JOB]
    where = set()
    for _ in range(30):
        where |= {name for name in names if unload(hub, name)}
        if nodes == 1 and len(job.unloaded) == 1 and job.unloaded[names[0]][1] == 1:
            assert job.live, "three guests of one start are one try"
        hub.wait(1)
    assert job.state is JobState.FAILED
    assert len(where) >= min(3, nodes)
    assert "its program ends its guests while it loads" in hub.said_to(OWNER, say.Progress)[-1].reason
    assert "executor.crashed: it ended by itself" in job.reason


def test_one_nodes_word_on_a_program_fails_no_job():
    hub = Hub()
    hub.enter(EVIL, NODE, slots=2)
    hub.upload()
    for _ in range(40):
        unload(hub, EVIL)
        hub.step(NODE, results=False)
        hub.wait(1)
    job = hub.machine.desk.jobs[JOB]
    assert job.live
    assert EVIL in job.barred, "what it says counts against itself"
    for _ in range(100):
        hub.step(NODE)
    assert job.state is JobState.DONE
    assert not job.failed


def test_a_result_over_the_limit_bars_its_node_and_two_nodes_make_it_the_tasks_fault():
    hub = Hub()
    hub.enter(EVIL, slots=1)
    hub.upload(msgspec.structs.replace(SPEC, tasks=2))
    big = bytes(MAX_TASK_BYTES + 1)
    (guest,) = hub.serving(EVIL)
    hub.results(guest, big)
    job = hub.machine.desk.jobs[JOB]
    assert not job.failed
    assert EVIL in job.barred
    hub.enter(THIRD, slots=1)
    (guest,) = hub.serving(THIRD)
    hub.results(guest, big)
    assert job.failed == 2
    assert job.state is JobState.FAILED
    assert "over 8 MiB" in job.reason


def test_a_rejected_result_of_a_failed_job_runs_again():
    hub = Hub()
    hub.enter(EVIL, slots=1)
    hub.upload(msgspec.structs.replace(SPEC, tasks=2))
    job = hub.machine.desk.jobs[JOB]
    for _ in range(60):
        die(hub, EVIL)
        hub.wait(2)
        if job.failed:
            break
        for guest in hub.serving(EVIL):
            if 1 in guest.outstanding.values() and 1 not in job.blamed and len(guest.outstanding) == 1:
                hub.results(guest, b"garbage")
    for _ in range(60):
        die(hub, EVIL)
        hub.wait(2)
    assert job.state is JobState.FAILED
    index, kept = next(iter(job.untaken.items()))
    failed = job.failed
    hub.enter(NODE)
    hub.tell(session.Said(OWNER, say.Rejected(job=JOB, index=index, attempt=kept.item.attempt), ()))
    assert job.live
    assert job.failed == failed - bool(kept.item.code)
    finish(hub)
    assert job.finished.full


def test_another_owners_program_is_neither_taken_nor_dropped():
    hub = Hub()
    drops = []
    handle = hub.machine.handle

    def spy(event, now):
        out = handle(event, now)
        drops.extend(action for action in out if isinstance(action, ev.DropProgram))
        return out

    hub.machine.handle = spy
    hub.enter(NODE)
    hub.upload()
    hub.tell(session.OwnerEntered(OTHER))
    for n in range(1002):
        spec = msgspec.structs.replace(
            SPEC, job=n.to_bytes(16, "big"), tasks=1, requirement=msgspec.structs.replace(SPEC.requirement, demands=())
        )
        hub.tell(session.Said(OTHER, say.Submit(spec=spec), ()))
    assert not drops
    assert "another owner" in hub.said_to(OTHER, say.Refused)[0].reason
    assert len(hub.machine.desk.jobs) == 1


def test_a_full_disk_takes_what_runs_and_gives_out_nothing_new():
    hub = Hub()
    hub.enter(NODE, slots=1)
    hub.upload()
    (guest,) = hub.serving(NODE)
    held = len(guest.outstanding)
    hub.tell(session.DiskFilled(True))
    hub.results(guest, b"sealed")
    assert hub.machine.desk.jobs[JOB].finished.count == held
    assert not guest.outstanding
    hub.tell(session.DiskFilled(False))
    assert guest.outstanding


def test_a_disk_that_took_no_result_gets_none_and_the_tasks_run_again():
    hub = Hub()
    hub.enter(NODE, slots=1)
    hub.upload()
    (guest,) = hub.serving(NODE)
    held = sorted(guest.outstanding.values())
    hub.tell(session.DiskFilled(True, spilled=True))
    rows = dict(hub.rows)
    hub.results(guest, b"sealed")
    job = hub.machine.desk.jobs[JOB]
    assert hub.rows == rows
    assert not hub.said_to(OWNER, say.Results)
    assert (job.finished.count, list(job.pending)[: len(held)]) == (0, held)
    assert "disk is full" in hub.said_to(OWNER, say.Progress)[-1].reason
    hub.tell(session.DiskFilled(False))
    finish(hub)
    assert job.finished.full


def test_a_quota_that_is_full_opens_no_guests_says_why_and_is_over_by_itself():
    hub = Hub()
    hub.machine.desk.config = DispatcherConfig(max_output_bytes_per_owner=5)
    hub.enter(NODE, slots=1)
    hub.upload(msgspec.structs.replace(SPEC, tasks=5))
    (guest,) = hub.serving(NODE)
    hub.results(guest, b"sealed")
    other = msgspec.structs.replace(SPEC, job=b"k" * 16)
    hub.upload(other)
    hub.tell(session.NodeEntered(EVIL, REPORT, ()))
    assert not hub.guests(EVIL, other.job)
    hub.tell(session.Said(OWNER, say.Ask(request=1, what="jobs"), ()))
    assert all("fill your quota" in job.reason for job in hub.machine.desk.jobs.values())
    done = tuple(hub.machine.desk.jobs[JOB].untaken)
    hub.tell(session.Said(OWNER, say.Taken(job=JOB, indices=done), ()))
    hub.wait(1)
    assert hub.guests(EVIL)
    assert not any("quota" in job.reason for job in hub.machine.desk.jobs.values())


def test_an_owner_has_a_bounded_number_of_bytes():
    hub = Hub()
    hub.machine.desk.config = DispatcherConfig(max_input_bytes_per_owner=100, max_output_bytes_per_owner=5)
    hub.enter(NODE, slots=1)
    hub.upload(msgspec.structs.replace(SPEC, tasks=5))
    (guest,) = hub.serving(NODE)
    hub.results(guest, b"sealed")
    assert not guest.outstanding, "results its client does not take are bounded"
    told = hub.said_to(OWNER, say.Progress)[-1]
    assert told.state is JobState.RUNNING
    assert "fill your quota" in told.reason, "and it is told so"
    done = tuple(hub.machine.desk.jobs[JOB].untaken)
    hub.tell(session.Said(OWNER, say.Taken(job=JOB, indices=done), ()))
    assert guest.outstanding
    assert hub.said_to(OWNER, say.Progress)[-1].reason == ""
    assert hub.machine.desk.inputs[OWNER] == 20 * (5 - len(done))
    hub.upload(msgspec.structs.replace(SPEC, job=b"k" * 16))
    refused = hub.said_to(OWNER, say.Refused)[-1]
    assert "quota for inputs" in refused.reason
    huge = msgspec.structs.replace(SPEC.program, blob=b"z" * 32, size=2 << 30)
    hub.machine.desk.config = DispatcherConfig(max_program_bytes_per_owner=1 << 30)
    hub.tell(session.Said(OWNER, say.Submit(spec=msgspec.structs.replace(SPEC, job=b"l" * 16, program=huge)), ()))
    assert "quota for programs" in hub.said_to(OWNER, say.Refused)[-1].reason
    hub.tell(TimePassed())
