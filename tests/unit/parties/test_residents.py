"""Several machines in one party: messages, events and answers find theirs, changes and time find all."""

from typing import get_args

import pytest

from propolis.messages import jobs as say
from propolis.messages import membership as member
from propolis.messages.envelope import Message
from propolis.parties.residents import Residents
from propolis.protocols import session
from propolis.protocols.attestation.attester import Attester
from propolis.protocols.attestation.verifier import Verifier
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.dispatcher import Dispatcher
from propolis.protocols.jobs.submitter import Submitter
from propolis.protocols.jobs.worker import Worker
from propolis.protocols.machine import TimePassed, Work, WorkDone, WorkFailed
from propolis.terms.errors import ProtocolMisuse

PEER = b"p" * 32


class Chore(Work, frozen=True):
    """Work of a test."""


class Echo:
    """Notes what it is given; asks for work, under its own first ticket, whenever it is told to."""

    def __init__(self, hears=(), takes=(), due=None):
        self.hears, self.takes, self.due, self.seen, self.tickets = hears, takes, due, [], 0

    def handle(self, event, now):
        self.seen.append(event)
        if isinstance(event, (session.Said, ev.StopAsked)):
            self.tickets += 1
            return [Chore(self.tickets)]
        return []

    def deadline(self):
        return self.due

    def check(self):
        assert self.seen is not None


def said(message):
    return session.Said(PEER, message)


def test_every_message_is_heard_by_somebody():
    """What a machine matches but does not claim would be dropped without a word."""
    of_parties = {
        member.Join, member.Rejoin, member.Welcome, member.TurnedAway, member.AskInvite, member.Invited, member.Remove,
        member.Removed, member.SetPolicy, member.PolicySet, say.Expect,
    }  # fmt: skip
    claimed = [*of_parties, *Dispatcher.hears, *Worker.hears, *Submitter.hears, *Verifier.hears, *Attester.hears]
    assert set(claimed) == set(get_args(Message))
    assert len(claimed) == len(set(claimed)) + len(set(Worker.hears) & set(Dispatcher.hears))


def test_a_message_and_an_outside_event_find_their_resident():
    first, second = Echo(hears=(say.Taken,)), Echo(hears=(say.Stop,), takes=(ev.StopAsked,))
    residents = Residents(first, second)
    residents.handle(said(say.Stop(job=bytes(16))), 0.0)
    residents.handle(ev.StopAsked(bytes(16)), 0.0)
    assert not first.seen
    assert [type(e) for e in second.seen] == [session.Said, ev.StopAsked]


def test_changes_and_time_find_all_and_the_earliest_deadline_counts():
    first, second = Echo(due=3.0), Echo(due=2.0)
    residents = Residents(first, second)
    for event in (session.OwnerEntered(PEER), TimePassed(), session.Connected()):
        residents.handle(event, 0.0)
    assert first.seen == second.seen != []
    assert residents.deadline() == 2.0


def test_tickets_of_two_residents_never_meet():
    first, second = Echo(hears=(say.Taken,)), Echo(hears=(say.Stop,))
    residents = Residents(first, second)
    (one,) = residents.handle(said(say.Taken(job=bytes(16), indices=())), 0.0)
    (two,) = residents.handle(said(say.Stop(job=bytes(16))), 0.0)
    assert one.ticket != two.ticket
    residents.handle(WorkDone(two.ticket, "two"), 0.0)
    residents.handle(WorkFailed(one.ticket, "code"), 0.0)
    assert first.seen[-1] == WorkFailed(1, "code")
    assert second.seen[-1] == WorkDone(1, "two")
    residents.handle(WorkDone(one.ticket, "again"), 0.0)  # answered once
    assert len(first.seen) == 2
    assert not residents._asked


def test_what_nobody_hears_is_dropped_and_what_nobody_takes_is_our_own_mistake():
    residents = Residents(Echo())
    assert residents.handle(said(say.Stop(job=bytes(16))), 0.0) == []
    with pytest.raises(ProtocolMisuse):
        residents.handle(ev.StopAsked(bytes(16)), 0.0)


def test_two_residents_cannot_claim_one_message():
    with pytest.raises(ProtocolMisuse):
        Residents(Echo(hears=(say.Stop,)), Echo(hears=(say.Stop,)))
