"""Owners that want more than their share of others' time: tasks of a day on every slot, programs that never arrive."""

import msgspec
from hub import EVIL, NODE, OWNER, SPEC, Hub

from propolis.messages import jobs as say
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs import shares
from propolis.protocols.machine import TimePassed, WorkFailed
from propolis.terms.job import BlobRef, Needs

GREEDY = b"G" * 32


def spec_of(letter, **needs):
    return msgspec.structs.replace(
        SPEC, job=letter * 16, program=BlobRef(blob=letter * 32, size=1), needs=Needs(**needs)
    )


def test_tasks_of_a_day_on_every_slot_leave_a_later_owner_its_share_within_minutes():
    hub, day, mine = Hub(), spec_of(b"d", task_seconds=86_400), spec_of(b"m")
    hub.enter(NODE, slots=4)
    hub.upload(day, GREEDY)
    assert len(hub.serving(NODE, day.job)) == 4
    hub.upload(mine, OWNER)
    hub.wait(shares.RETIRE_SECONDS + 15.0)
    assert any(message.spec.job == mine.job for message in hub.said_to(NODE, say.OpenGuests))
    assert len(hub.guests(NODE, day.job)) == 2, "it keeps its own share, and what runs there"
    job = hub.machine.desk.jobs[day.job]
    assert not job.strikes
    assert not job.barred


def test_a_node_that_claims_many_slots_does_not_lend_its_owner_the_others_for_a_day():
    """Slots nobody serves on raise everybody's share, so the greedy one is within its own."""
    hub, day, mine = Hub(), spec_of(b"d", task_seconds=86_400), spec_of(b"m")
    hub.enter(NODE, slots=4)
    hub.upload(day, GREEDY)
    assert len(hub.serving(NODE, day.job)) == 4
    hub.enter(EVIL, slots=4096)
    hub.upload(mine, OWNER)
    hub.wait(shares.TURN_SECONDS + 600.0)
    assert any(message.spec.job == mine.job for message in hub.said_to(NODE, say.OpenGuests))


def test_a_long_task_alone_is_not_disturbed():
    hub, day = Hub(), spec_of(b"d", task_seconds=86_400)
    hub.enter(NODE, slots=4)
    hub.upload(day, GREEDY)
    before = {guest.id for guest in hub.serving(NODE, day.job)}
    hub.wait(3600.0)
    assert {guest.id for guest in hub.guests(NODE, day.job)} == before


class Failing(Hub):
    """A hub whose owners never hand a program over."""

    fetches = 0

    def tell(self, event):
        self.now += 0.001
        todo = [event]
        while todo:
            for output in self.machine.handle(todo.pop(0), self.now):
                if isinstance(output, ev.FetchProgram):
                    self.fetches += 1
                    todo.append(WorkFailed(output.ticket, "wire.unreachable", "no holder is left"))
            self.machine.check()


def test_programs_that_never_arrive_are_asked_for_less_and_less():
    hub = Failing()
    hub.tell(session.OwnerEntered(OWNER))
    for number in range(1, 11):
        hub.tell(session.Said(OWNER, say.Submit(spec=spec_of(bytes([number]))), ()))
    for second in range(1200):
        hub.now = float(second)
        hub.tell(TimePassed())
    assert hub.fetches <= 10 * 40
    assert hub.fetches >= 10 * 10, "and still asked for"
