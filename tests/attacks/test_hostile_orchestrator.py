"""An orchestrator against a lender: it queues without end, repeats itself, takes no results; the node's memory stays bounded."""

import msgspec
import pytest
from hub import GUEST, HUB, JOB, KNOWN, NODE, OWNER, REPORT, SPEC, Hub, Zero

from propolis.messages import jobs as say
from propolis.messages.membership import Role, Welcome
from propolis.parties.node import node_party
from propolis.ports.executor import TaskOutput
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.programs import MAX_PROGRAMS_BYTES
from propolis.protocols.jobs.worker import MAX_UNSENT_BYTES, Worker
from propolis.protocols.link.office import Office, Opened
from propolis.protocols.machine import (
    ChannelClosed,
    ChannelOpened,
    Dial,
    HangUp,
    Mail,
    PacketArrived,
    Tell,
    TimePassed,
    Transmit,
    WorkDone,
    filled,
)
from propolis.terms.contact import Contact
from propolis.terms.job import MAX_HELD_BYTES, MAX_HELD_TASKS, BlobRef

MIB = 1 << 20


def opening(guest=GUEST, program=SPEC.program):
    return say.OpenGuests(spec=msgspec.structs.replace(SPEC, program=program), owner=OWNER, guests=(guest,))


def batch(attempts, guest=GUEST):
    return say.RunTasks(job=JOB, guest=guest, indices=(0,) * len(attempts), attempts=tuple(attempts))


class Lender:
    """A worker whose executor does what it is asked at once, and computes nothing until told to."""

    def __init__(self, **changes):
        report = msgspec.structs.replace(REPORT, **changes)
        self.worker, self.out, self.fetching = Worker(Contact(peer=HUB, addresses=()), report, KNOWN), [], []
        self.tell(session.Connected())

    def tell(self, event):
        for output in self.worker.handle(event, 1.0):
            self.worker.check()
            self.out.append(output)
            if isinstance(output, ev.StartGuest):
                self.tell(WorkDone(output.ticket, ev.Started(b"receipt", bytes(64))))
            elif isinstance(output, ev.FetchProgram):
                self.fetching.append(output.ticket)
            elif isinstance(output, ev.GrantGuest):
                self.tell(WorkDone(output.ticket))
            elif isinstance(output, ev.KillGuest):
                self.tell(ev.GuestEnded(output.guest, "executor.crashed", "ended"))

    def say(self, message, body=()):
        self.tell(session.Said(HUB, message, body))

    def serving(self):
        self.say(opening())
        self.tell(WorkDone(self.fetching.pop()))
        self.say(say.Grant(job=JOB, guest=GUEST, sealed=b"sealed"))
        return self

    def fed(self):
        return sum(len(item.sealed) for out in self.out if isinstance(out, ev.FeedGuest) for item in out.inputs)

    def ends(self):
        return [output.reason for output in self.out if isinstance(output, session.EndSession)]

    def gone(self):
        return [o.message.reason for o in self.out if isinstance(o, Mail) and isinstance(o.message, say.GuestGone)]


def test_tasks_beyond_the_bytes_a_guest_may_hold_end_the_session_by_name():
    lender, part = Lender().serving(), bytes(4 * MIB)
    for number in range(40):
        lender.say(batch([number]), (part,))
    assert lender.fed() == MAX_HELD_BYTES
    assert "64 MiB before it ended them" in lender.ends()[0]
    assert lender.gone() == lender.ends()
    assert GUEST not in lender.worker._guests, "what was queued is gone with its guest"


def test_tasks_beyond_the_count_a_guest_may_hold_end_the_session_by_name():
    lender = Lender().serving()
    for start in range(0, 4 * MAX_HELD_TASKS, 100):
        lender.say(batch(range(start, start + 100)), (b"i",) * 100)
    assert lender.fed() <= MAX_HELD_TASKS
    assert len(lender.ends()) == 1


@pytest.mark.parametrize("attempts", [([5, 5],), ([5], [5])], ids=["at once", "one after the other"])
def test_an_attempt_given_out_twice_ends_the_session(attempts):
    lender = Lender().serving()
    for words in attempts:
        lender.say(batch(words), (b"i",) * len(words))
    assert "twice" in lender.ends()[0]
    assert lender.fed() <= 1


def test_what_was_ended_makes_room():
    lender = Lender().serving()
    for number in range(200):
        lender.say(batch([number]), (bytes(4 * MIB),))
        lender.tell(ev.GuestReported(GUEST, (TaskOutput(index=0, attempt=number, sealed=b"o", milliseconds=1.0),)))
    assert not lender.ends()
    lender.say(batch(range(200, 210)), (b"",) * 10)  # holes end at once
    assert not lender.worker._guests[GUEST].outstanding
    assert not lender.worker._guests[GUEST].inputs


def test_results_nobody_takes_are_kept_within_bytes():
    lender, result = Lender().serving(), bytes(8 * MIB)
    lender.say(batch(range(100)), (b"i",) * 100)
    lender.tell(session.Disconnected(()))
    for number in range(100):
        lender.tell(ev.GuestReported(GUEST, (TaskOutput(index=0, attempt=number, sealed=result, milliseconds=1.0),)))
        kept = sum(guest.unsent_bytes for guest in lender.worker._guests.values())
        assert kept <= MAX_UNSENT_BYTES
    assert GUEST not in lender.worker._guests


def test_programs_without_end_are_not_all_fetched():
    lender = Lender()
    for number in range(100):
        guest = number.to_bytes(16, "big")
        lender.say(opening(guest, BlobRef(blob=number.to_bytes(32, "big"), size=1)))
        lender.say(say.CloseGuests(guests=(guest,)))
    assert len(lender.fetching) == 4 * REPORT.slots
    assert "still on their way" in lender.gone()[-1]


def test_an_honest_dispatcher_gives_no_guest_more_than_its_node_takes():
    """Large inputs, and a node that tells it is endlessly fast: the two sides keep to one bound."""
    hub, size = Hub(), MIB
    spec = msgspec.structs.replace(SPEC, tasks=400)
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.Said(OWNER, say.Submit(spec=spec), ()))
    part = bytes(size)
    for start in range(0, 400, 4):
        hub.tell(session.Said(OWNER, say.PutInputs(job=JOB, indices=tuple(range(start, start + 4))), (part,) * 4))
    hub.rows.clear()
    hub.enter(NODE, slots=1)
    (guest,) = hub.serving(NODE)
    most = 0
    for _ in range(300):
        if not guest.outstanding:
            break
        attempt, index = next(iter(guest.outstanding.items()))
        ended = say.TasksEnded(job=JOB, guest=guest.id, indices=(index,), attempts=(attempt,), milliseconds=0.001)
        hub.tell(session.Said(NODE, ended, (b"o",)))
        most = max(most, len(guest.outstanding) * size)
    assert MAX_HELD_BYTES - 2 * size < most <= MAX_HELD_BYTES


class Wired:
    """A node's party and an orchestrator that says what it likes, over a perfect channel."""

    def __init__(self):
        self.now, self.told, self.hung = 0.0, [], 0
        self.node = node_party(Zero(), Contact(peer=HUB, addresses=()), REPORT, KNOWN, node=NODE)
        self.worker, _ = self.node.residents._residents
        self.office = Office(Zero())
        self.act(self.node.handle(TimePassed(), self.now))

    def act(self, actions):
        for action in actions:
            if isinstance(action, Dial):
                self.act(self.node.handle(ChannelOpened(HUB, True), self.now))
                self.reply(self.office.handle(ChannelOpened(NODE, False), self.now))
            elif isinstance(action, Transmit):
                packet = filled(action.packet, action.parts, lambda table, key: None)
                self.reply(self.office.handle(PacketArrived(NODE, packet), self.now))
            elif isinstance(action, HangUp):
                self.hung += 1
                self.reply(self.office.handle(ChannelClosed(NODE), self.now))
                self.act(self.node.handle(ChannelClosed(HUB), self.now))
            elif isinstance(action, Tell):
                self.told.append(action.note)
            elif isinstance(action, ev.StartGuest):
                self.act(self.node.handle(WorkDone(action.ticket, ev.Started(b"receipt", bytes(64))), self.now))
            elif isinstance(action, ev.FetchProgram | ev.GrantGuest):
                self.act(self.node.handle(WorkDone(action.ticket), self.now))

    def reply(self, step):
        actions, notices = step
        for action in actions:
            if isinstance(action, Transmit):
                packet = filled(action.packet, action.parts, lambda table, key: None)
                self.act(self.node.handle(PacketArrived(HUB, packet), self.now))
        for notice in notices:
            if isinstance(notice, Opened):
                self.say(Welcome(role=Role.NODE))

    def say(self, message, parts=()):
        self.reply((self.office.post([Mail(NODE, message, parts)], self.now), []))

    def pass_time(self, seconds):
        end = self.now + seconds
        while self.now < end:
            self.now += 0.05
            self.act(self.node.handle(TimePassed(), self.now))
            self.reply(self.office.handle(TimePassed(), self.now))


def test_a_node_whose_orchestrator_overfills_it_hangs_up_and_comes_back():
    wired = Wired()
    wired.pass_time(2)
    wired.say(opening())
    wired.say(say.Grant(job=JOB, guest=GUEST, sealed=b"sealed"))
    wired.pass_time(0.5)
    assert wired.worker._guests[GUEST].serving
    for start in range(0, 3 * MAX_HELD_TASKS, 256):
        wired.say(batch(range(start, start + 256)), (b"i",) * 256)
        wired.pass_time(0.1)
    assert [type(note).__name__ for note in wired.told].count("EndSession") == 1
    assert wired.hung == 1
    wired.pass_time(5)
    assert wired.node.office.is_open(HUB), "it comes back with a fresh session"
    wired.node.check()


def test_programs_without_end_fill_no_lenders_disk():
    """Each of its own job, and of the largest size there is, on a machine of many slots."""
    lender, size = Lender(slots=64), 2 << 30
    for number in range(128):
        program = BlobRef(blob=number.to_bytes(32, "big"), size=size)
        lender.say(opening(guest=number.to_bytes(16, "big"), program=program))
    assert len(lender.fetching) * size == MAX_PROGRAMS_BYTES
    assert "GiB are kept here at a time" in lender.gone()[0]
    lender.say(say.CloseGuests(guests=(bytes(16),)))
    lender.tell(WorkDone(lender.fetching[0]))
    lender.say(opening(guest=b"z" * 16, program=BlobRef(blob=b"z" * 32, size=size)))
    assert len(lender.fetching) * size == MAX_PROGRAMS_BYTES + size, "what is dropped makes room"
