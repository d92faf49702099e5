"""What the operator's client puts on the list of removals, and whom a person means."""

import msgspec
import pytest

from propolis.adapters.keyhome.memory import MemoryKeyHome
from propolis.crypto import credential, identity
from propolis.messages.membership import Role
from propolis.messages.rows import NodeRow
from propolis.owner import inviting
from propolis.protocols import removals
from propolis.sdk import members
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import DataError

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
        signed = inviting.removed(FLEET, None, NODE, shown, KEYS)
        (removal,) = removals.opened(signed, KEYS.identity, FLEET).removed
        assert (removal.member, removal.invitation) == (NODE, invitation)


def test_a_list_grows_and_names_nobody_twice():
    first = inviting.removed(FLEET, None, NODE, None, KEYS)
    second = inviting.removed(FLEET, first, OTHER, None, KEYS)
    third = inviting.removed(FLEET, second, NODE, None, KEYS)
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
