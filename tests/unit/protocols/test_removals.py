"""Members that are removed stay out; invitations end by the calendar; the operator alone decides, also over restarts."""

import pytest
from test_membership import Counter

from propolis.adapters.store.memory import MemoryStore
from propolis.crypto import identity
from propolis.messages.membership import Join, Rejoin, Role, TurnedAway, Welcome
from propolis.protocols import removals
from propolis.protocols.membership.registrar import Registrar
from propolis.terms.credential import Removal

SEED = b"w" * 32
OPERATOR, FLEET, NODE, OTHER = identity.public_of(SEED), b"h" * 32, b"n" * 32, b"m" * 32


def keep(registrar, writes):
    """Return a registrar restored from these writes, as after a restart."""
    rows = MemoryStore()
    rows.commit(writes)
    reborn = Registrar(Counter(), 1000.0)
    reborn.restore(rows)
    return reborn


@pytest.fixture
def registrar():
    made = Registrar(Counter(), 1000.0)
    token, _ = made.invite(Role.OWNER, operator=True)
    made.join(OPERATOR, Join(role=Role.OWNER, token=token), "", 0.0)
    for node in (NODE, OTHER):
        token, _ = made.invite(Role.NODE)
        made.join(node, Join(role=Role.NODE, token=token), "", 0.0)
    return made


def signed(*members, known=None, seed=SEED):
    for member in members:
        made = removals.sign(lambda c, d: identity.sign(seed, c, d), known, FLEET, Removal(member=member))
        known = removals.opened(made, identity.public_of(seed))
    return made, known


def test_a_removed_member_is_none_and_comes_back_by_no_way(registrar):
    made, _ = signed(NODE)
    done = registrar.remove(OPERATOR, made)
    assert (done.reason, done.gone) == ("", (NODE,))
    reborn = keep(registrar, done.writes)
    for party in (registrar, reborn):
        assert not party.is_member(NODE)
        assert party.rejoin(NODE, Rejoin(role=Role.NODE), "").answer.code == "admission.removed"
        token, _ = party.invite(Role.NODE)
        assert party.join(NODE, Join(role=Role.NODE, token=token), "", 0.0).answer.code == "admission.removed"
    assert isinstance(registrar.rejoin(OTHER, Rejoin(role=Role.NODE), "").answer, Welcome)


def test_only_the_operator_removes_and_only_by_a_newer_list(registrar):
    first, known = signed(NODE)
    second, _ = signed(OTHER, known=known)
    token, _ = registrar.invite(Role.OWNER)
    registrar.join(b"o" * 32, Join(role=Role.OWNER, token=token), "", 0.0)
    assert "only the fleet's operator" in registrar.remove(b"o" * 32, first).reason
    forged, _ = signed(NODE, seed=b"x" * 32)
    assert "no list of the operator's" in registrar.remove(OPERATOR, forged).reason
    assert "does not remove itself" in registrar.remove(OPERATOR, signed(OPERATOR)[0]).reason
    assert registrar.remove(OPERATOR, second).gone == (OTHER, NODE)
    assert "newer list" in registrar.remove(OPERATOR, first).reason
    assert "newer list" in registrar.remove(OPERATOR, second).reason


def test_an_invitation_ends_by_the_calendar_also_over_a_restart(registrar):
    token, writes = registrar.invite(Role.NODE, until=1060, now=0.0)
    words = Join(role=Role.NODE, token=token)
    for party in (registrar, keep(registrar, writes)):
        late = party.join(b"l" * 32, words, "", 60.5)
        assert isinstance(late.answer, TurnedAway)
        assert "expired" in late.answer.reason
        assert isinstance(party.join(b"l" * 32, words, "", 59.0).answer, Welcome)


def test_invitations_that_ended_take_no_room(registrar):
    for _ in range(3):
        registrar.invite(Role.NODE, until=1060, now=0.0)
    _, writes = registrar.invite(Role.NODE, until=2000, now=100.0)
    assert len(writes) == 4
    assert len(registrar._invites) == 1
