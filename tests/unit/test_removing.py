"""What the operator's client puts on the list of removals, and whom a person means."""

import msgspec
import pytest

from propolis.adapters.keyhome.memory import MemoryKeyHome
from propolis.adapters.store.memory import MemoryStore
from propolis.crypto import credential, identity
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.messages.rows import NodeRow
from propolis.owner import inviting
from propolis.owner.chest import Chest
from propolis.ports.store import Put
from propolis.protocols import removals
from propolis.protocols.jobs.book import GRANTED
from propolis.sdk import members
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import DataError
from propolis.terms.job import Granted, Receipt

KEYS = MemoryKeyHome(b"w" * 32)
FLEET, NODE, OTHER = b"h" * 32, b"n" * 32, b"m" * 32


def came(member, secret):
    granted = credential.grant(KEYS.sign, FLEET, Role.NODE, secret, 9)
    return credential.take(secret, granted, member, until=9, joined=1)


def row(node, name):
    report = CapabilityReport(
        name=name, system="linux", machine="x86_64", python="3.11", slots=2, memory_mb=2048, speed=1.0,
        isolation=Isolation(rung=Rung.NAMESPACES),
    )  # fmt: skip
    return NodeRow(node=node, report=report, state="up", busy=0, address="")


def test_a_removal_names_no_invitation_the_member_did_not_come_by():
    its, others = came(NODE, b"1" * 32), came(OTHER, b"2" * 32)
    for shown, invitation in (
        (its, identity.public_of(b"1" * 32)),
        (others, b""),
        (msgspec.structs.replace(its, invitation=others.invitation), b""),
        (None, b""),
    ):
        signed = inviting.removed(FLEET, None, NODE, (shown,), KEYS)
        (removal,) = removals.opened(signed, KEYS.identity, FLEET).removed
        assert (removal.member, removal.invitation) == (NODE, invitation)


def test_a_list_grows_and_names_nobody_twice():
    first = inviting.removed(FLEET, None, NODE, (), KEYS)
    second = inviting.removed(FLEET, first, OTHER, (), KEYS)
    third = inviting.removed(FLEET, second, NODE, (), KEYS)
    found = removals.opened(third, KEYS.identity, FLEET)
    assert (found.number, {item.member for item in found.removed}) == (3, {NODE, OTHER})
    assert len(found.removed) == 2


def test_a_node_is_named_by_its_name_or_the_beginning_of_its_key():
    rows = [row(NODE, "blue"), row(OTHER, "red"), row(b"x" * 32, "red")]
    assert members.named("blue", rows)[0] == NODE
    assert members.named(OTHER.hex()[:6], rows)[0] == OTHER
    assert members.named((b"z" * 32).hex(), rows)[0] == b"z" * 32
    for word in ("red", "6d", "green", "ffff", (b"z" * 31).hex()):
        with pytest.raises(DataError):
            members.named(word, rows)


def test_an_invitation_on_the_list_stays_there_when_its_member_is_removed_again():
    """An orchestrator that hides how a removed member came, until its operator tries again: the invitation is not freed."""
    its = came(NODE, b"1" * 32)
    first = inviting.removed(FLEET, None, NODE, (its,), KEYS)
    again = removals.opened(inviting.removed(FLEET, first, NODE, (None,), KEYS), KEYS.identity, FLEET)
    assert removals.removed(again, OTHER, came(OTHER, b"1" * 32)), "another key by the same invitation"
    assert len(again.removed) == 1


def test_a_member_that_came_by_several_invitations_takes_them_all_with_it():
    """One shown to the orchestrator, another in the receipts: a removal that names one leaves the other good."""
    shown = [came(NODE, secret * 32) for secret in (b"1", b"2")]
    found = removals.opened(inviting.removed(FLEET, None, NODE, shown, KEYS), KEYS.identity, FLEET)
    assert all(removals.removed(found, OTHER, came(OTHER, secret * 32)) for secret in (b"1", b"2"))


def test_the_operator_knows_by_its_own_receipts_how_a_node_came_whatever_the_orchestrator_shows():
    store, its = MemoryStore(), came(NODE, b"1" * 32)
    isolation = Isolation(rung=Rung.NAMESPACES)
    for number, (node, proof) in enumerate(((NODE, its), (NODE, its), (OTHER, came(OTHER, b"2" * 32)), (NODE, None))):
        receipt = Receipt(
            node=node,
            job=b"j" * 16,
            guest=bytes([number]) * 16,
            guest_key=b"k" * 32,
            isolation=isolation,
            credential=proof,
        )
        kept = Granted(receipt=codec.encode(receipt), signature=bytes(64), at=1)
        store.commit([Put(GRANTED, b"j" * 16 + receipt.guest, codec.encode(kept))])
    assert Chest(store).credentials(NODE) == [its]


def test_nodes_that_bear_each_others_keys_as_names_are_still_removed_and_nobody_in_their_place():
    rows = [row(NODE, OTHER.hex()), row(OTHER, NODE.hex())]
    assert members.named(NODE.hex(), rows) == (NODE, None)
    assert members.named(OTHER.hex().upper(), rows) == (OTHER, None)
    assert members.named((b"z" * 32).hex(), [row(NODE, (b"z" * 32).hex())])[0] == b"z" * 32, (
        "a list the orchestrator made"
    )
