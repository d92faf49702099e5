"""A hostile node that comes and goes: guests that serve nothing, keys of a job used up, tasks claimed that were never given to it."""

import msgspec
import pytest
from hub import EVIL, JOB, NODE, SPEC, Hub, finish

from propolis.messages import jobs as say
from propolis.protocols import session
from propolis.protocols.machine import TimePassed


def serve_nothing(hub, seconds, **words):
    """The node's guests get their keys, serve, and end by themselves; returns how many keys that took."""
    keys, end = 0, hub.now + seconds
    while hub.now < end:
        for guest in hub.serving(EVIL):
            keys += 1
            gone = {"code": "executor.crashed", "reason": "", **words}
            hub.tell(session.Said(EVIL, say.GuestGone(job=JOB, guest=guest.id, **gone), ()))
        hub.tell(TimePassed())
    return keys


@pytest.mark.parametrize(
    "words", [{"code": "refused"}, {}, {"culprit": 7}], ids=["by name", "crashed", "of a task it has not"]
)
def test_guests_that_serve_and_end_before_a_result_cost_their_node_a_strike_each(words):
    hub = Hub()
    hub.enter(EVIL)
    hub.upload()
    assert serve_nothing(hub, 300.0, **words) <= 20
    assert EVIL in hub.machine.desk.jobs[JOB].barred
    hub.enter(NODE)
    finish(hub)
    assert hub.machine.desk.jobs[JOB].finished.full


def claim(indices, attempts, guest=b"c" * 16):
    return say.HeldGuest(
        job=JOB, guest=guest, serving=True, receipt=b"", signature=b"", indices=tuple(indices), attempts=tuple(attempts)
    )


def test_a_node_claims_no_tasks_that_were_never_given_to_it():
    hub = Hub()
    hub.upload(msgspec.structs.replace(SPEC, tasks=2000))
    hub.enter(EVIL, NODE)
    for guest in hub.serving(NODE):
        theirs = dict(guest.outstanding)
    hub.tell(session.NodeLost(NODE))
    for attempts in (range(1, 2001), [*theirs, *range(1, 2001)]):
        hub.tell(session.Said(EVIL, say.Resume(guests=(claim(range(len(attempts)), attempts),)), ()))
        assert not hub.machine.desk.jobs[JOB].running
    hub.tell(session.Said(EVIL, say.Resume(guests=(claim(theirs.values(), theirs),)), ()))
    assert not hub.machine.desk.jobs[JOB].running
    assert len(hub.said_to(EVIL, say.CloseGuests)) >= 3
    hub.enter(NODE)
    hub.tell(session.Said(NODE, say.Resume(guests=(claim(theirs.values(), theirs, b"h" * 16),)), ()))
    assert hub.machine.desk.jobs[JOB].running, "who had them goes on with them"


def test_a_node_that_served_nothing_resumes_no_more_guests_than_it_would_be_given():
    hub = Hub()
    hub.upload(msgspec.structs.replace(SPEC, tasks=2000))
    hub.enter(EVIL, slots=4096)
    for number in range(1000):
        hub.tell(session.Said(EVIL, say.Resume(guests=(claim((), (), number.to_bytes(16, "big")),)), ()))
    assert len(hub.guests(EVIL)) <= hub.machine.desk.config.max_unserved
