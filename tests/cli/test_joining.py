"""Invitations at the command line: success means the fleet said yes, and a no leaves nothing that pretends otherwise."""

import json
import subprocess
import sys

import pytest

from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import InvitationRefused


def propolis(*words, home):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name="n0")]) as fleet:
        yield fleet.home


def test_an_owner_that_joined_was_let_in_and_a_used_invitation_leaves_nothing(home, tmp_path):
    with Fleet(home) as owner:
        text = owner.invite("owner")
    first = propolis("join", text, home=tmp_path / "first")
    assert (first.returncode, "joined" in first.stdout) == (Exit.OK, True), first.stderr
    second = propolis("join", text, home=tmp_path / "second")
    assert second.returncode == Exit.REFUSED
    assert second.stderr.startswith("error admission.invitation: this invitation is unknown, was used already")
    assert second.stdout == ""
    assert not (tmp_path / "second").exists()
    assert propolis("join", text, home=tmp_path / "first").returncode == Exit.OK, "a member stays one"


def test_a_refused_invitation_takes_nothing_of_the_folders_owner(home, tmp_path):
    """Somebody keeps a folder of the name we use: what is not ours stays."""
    with Fleet(home) as owner:
        text = owner.invite("owner")
    assert propolis("join", text, home=tmp_path / "first").returncode == Exit.OK
    theirs = tmp_path / "project" / "owner" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    assert propolis("join", text, home=tmp_path / "project").returncode == Exit.REFUSED
    assert theirs.read_text() == "years of work"
    assert [path.name for path in theirs.parent.iterdir()] == ["thesis.txt"]


def test_a_fleet_that_does_not_answer_is_not_joined_but_may_be_later(home, tmp_path):
    from propolis.runtime import invitation

    with Fleet(home) as owner:
        text = owner.invite("owner")
    real = invitation.from_text(text)
    away = invitation.to_text(
        invitation.Invitation(
            fleet=real.fleet,
            addresses=("127.0.0.1:9",),
            token=real.token,
            role=real.role,
            operator=real.operator,
        )
    )
    done = propolis("join", away, home=tmp_path)
    assert done.returncode == Exit.UNREACHABLE
    assert not (tmp_path / "owner/fleet.json").exists()
    key = (tmp_path / "owner/identity").read_bytes()
    Fleet.join(text, tmp_path)
    assert (tmp_path / "owner/identity").read_bytes() == key


@pytest.mark.parametrize("verb", [("join",), ("node", "join")])
def test_garbage_is_refused_once_and_by_the_documented_code(verb, tmp_path):
    done = propolis(*verb, "propolis1-abc", home=tmp_path / "h")
    assert done.returncode == Exit.REFUSED
    assert done.stderr.startswith("error admission.invitation: ")
    assert done.stderr.count("error") == 1
    assert not (tmp_path / "h/node/fleet.json").exists()


def test_a_used_node_invitation_is_told_once_and_enlists_nobody(home, tmp_path):
    with Fleet(home) as owner:
        text = owner.invite("node")
    owner_text = json.loads(propolis("invite", "owner", "--json", home=home).stdout)["invitation"]
    wrong = propolis("node", "join", owner_text, home=tmp_path / "wrong")
    assert wrong.returncode == Exit.REFUSED
    assert "for an owner" in wrong.stderr
    spender = LocalFleet(tmp_path / "spender", [])
    spender.home.mkdir()
    spender.start_node(NodeLimits(name="lent"), text)
    spender.stop()
    done = propolis("node", "join", text, home=tmp_path / "late")
    assert done.returncode == Exit.REFUSED
    assert done.stderr.startswith("error admission.invitation: this invitation is unknown, was used already")
    assert done.stderr.count("invitation is unknown") == 1
    again = propolis("node", "start", home=tmp_path / "late")
    assert again.returncode == Exit.CONFIG
    assert "belongs to no fleet" in again.stderr


def test_an_invitation_for_a_node_makes_no_owner(home, tmp_path):
    with Fleet(home) as owner:
        text = owner.invite("node")
    with pytest.raises(InvitationRefused, match="for a node"):
        Fleet.join(text, tmp_path / "h")
    assert not (tmp_path / "h").exists()
