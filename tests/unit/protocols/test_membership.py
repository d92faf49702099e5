"""Invitations open once; strangers are bounded; members come back by their key."""

import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.messages.membership import Join, Rejoin, Role, TurnedAway, Welcome
from propolis.protocols.machine import Dial
from propolis.protocols.membership.member import Inside, Member, State
from propolis.protocols.membership.registrar import MAX_STRANGERS, Registrar
from propolis.terms.contact import Contact

NODE, OTHER = b"n" * 32, b"m" * 32


class Counter:
    def __init__(self):
        self.n = 0

    def draw(self, size):
        self.n += 1
        return self.n.to_bytes(size, "big")


@pytest.fixture
def registrar():
    return Registrar(Counter())


def test_a_token_opens_once_for_one_key(registrar):
    token, writes = registrar.invite(Role.NODE)
    assert token not in b"".join(bytes(w.key) + bytes(w.value) for w in writes)
    first = registrar.join(NODE, Join(role=Role.NODE, token=token), "here")
    assert isinstance(first.answer, Welcome)
    assert first.answer.observed == "here"
    assert len(first.writes) == 2
    again = registrar.join(NODE, Join(role=Role.NODE, token=token), "here")
    assert isinstance(again.answer, Welcome)
    assert isinstance(registrar.join(OTHER, Join(role=Role.NODE, token=token), "").answer, TurnedAway)


def test_a_token_serves_its_role_alone(registrar):
    token, _ = registrar.invite(Role.NODE)
    assert isinstance(registrar.join(NODE, Join(role=Role.OWNER, token=token), "").answer, TurnedAway)


def test_rejoin_needs_membership(registrar):
    assert isinstance(registrar.rejoin(NODE, Rejoin(role=Role.NODE), "").answer, TurnedAway)
    token, _ = registrar.invite(Role.NODE)
    registrar.join(NODE, Join(role=Role.NODE, token=token), "")
    assert isinstance(registrar.rejoin(NODE, Rejoin(role=Role.NODE), "").answer, Welcome)
    assert isinstance(registrar.rejoin(NODE, Rejoin(role=Role.OWNER), "").answer, TurnedAway)


def test_members_and_open_invitations_survive_a_restart(registrar):
    token, invited = registrar.invite(Role.OWNER, operator=True)
    rows = MemoryStore()
    rows.commit(invited)
    reborn = Registrar(Counter())
    reborn.restore(rows)
    greeting = reborn.join(NODE, Join(role=Role.OWNER, token=token), "")
    third = Registrar(Counter())
    rows.commit(greeting.writes)
    third.restore(rows)
    assert third.is_operator(NODE)
    assert isinstance(third.rejoin(NODE, Rejoin(role=Role.OWNER), "").answer, Welcome)


def test_strangers_are_few_and_short(registrar):
    for n in range(MAX_STRANGERS):
        assert registrar.stranger(n.to_bytes(32, "big"), 0.0)
    assert not registrar.stranger(NODE, 0.0)
    assert len(registrar.overdue(3.0)) == MAX_STRANGERS
    assert registrar.stranger(NODE, 3.0)


def test_a_member_dials_joins_and_comes_back_with_growing_pauses():
    member = Member(Contact(peer=b"o" * 32, addresses=()), Role.NODE, b"t" * 16, None)
    assert [type(a) for a in member.tick(0.0)] == [Dial]
    pauses = []
    now = 0.0
    for _ in range(6):
        member.lost(now)
        pauses.append(member.deadline() - now)
        now = member.deadline()
        member.tick(now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0
    member.dialled(now)
    assert isinstance(member.opened(now), Join)
    assert member.answered(Welcome(role=Role.NODE)) == Inside(True, "")
    member.ended(now)
    member.tick(member.deadline())
    member.dialled(now)
    assert isinstance(member.opened(now), Rejoin)


def test_turned_away_is_final():
    member = Member(Contact(peer=b"o" * 32, addresses=()), Role.NODE, b"t" * 16, None)
    member.tick(0.0)
    member.dialled(0.0)
    member.opened(0.0)
    member.answered(TurnedAway(code="admission.invitation", reason="used"))
    assert member.state is State.BARRED
    member.ended(1.0)
    assert member.deadline() is None
    assert member.tick(100.0) == []


def test_a_channel_that_breaks_inside_a_session_needs_no_new_welcome():
    member = Member(Contact(peer=b"o" * 32, addresses=()), Role.NODE, b"t" * 16, None)
    member.tick(0.0)
    member.dialled(0.0)
    member.opened(0.0)
    member.answered(Welcome(role=Role.NODE))
    member.lost(1.0)
    member.tick(member.deadline())
    member.dialled(2.0)
    assert member.state is State.INSIDE
    assert member.deadline() is None
