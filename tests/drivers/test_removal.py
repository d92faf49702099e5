"""A member removed by the operator, with real processes: its agent says so and ends, its tasks run elsewhere, for good."""

import json
import subprocess
import sys
import time

import pytest

from propolis.adapters.keyhome.file import FileKeyHome
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import ConfigError, DataError, InvitationRefused, MemberRemoved

PRIVACY = "trusted-lenders"
SLOW = "def slow(x):\n    import time\n    time.sleep(0.1)\n    return x * 2\n"


def propolis(*words, home):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def local(tmp_path):
    with LocalFleet(tmp_path / "fleet", [NodeLimits(name=f"n{n}") for n in range(2)]) as fleet:
        yield fleet


@pytest.mark.timeout(180)
def test_a_removed_node_ends_by_itself_and_its_tasks_run_elsewhere(local):
    with Fleet(local.home) as fleet:
        keys = {row.report.name: row.node for row in fleet.nodes()}
        job = fleet.submit_map(SLOW, range(150), entry="slow", privacy=PRIVACY)
        while {item.node for item in job.ran()} != set(keys.values()):
            job.wait(timeout=0.1)
            assert job.finished < 150, "both nodes are at work before it ends"
        done = propolis("nodes", "remove", "n0", "--json", home=local.home)
        assert done.returncode == Exit.OK, done.stderr
        assert json.loads(done.stdout) == {"removed": keys["n0"].hex()}
        assert local.nodes["n0"].wait(60) == Exit.REFUSED
        assert (
            "error admission.removed: the fleet's operator removed this member"
            in (local.home / "logs" / "n0.log").read_text()
        )
        assert job.wait(timeout=90) == "done"
        assert job.results() == [2 * x for x in range(150)]
        assert [row.report.name for row in fleet.nodes()] == ["n1"]
    local.kill("orchestrator")
    local.start_orchestrator()
    with pytest.raises(ConfigError, match="operator removed this member"):
        local.start_node(NodeLimits(name="n0"))  # also after a restart, and whoever else remembers it


@pytest.mark.timeout(180)
def test_an_owner_is_removed_too_and_only_the_operator_removes(local, tmp_path):
    with Fleet(local.home) as fleet:
        Fleet.join(fleet.invite("owner"), tmp_path / "second")
        with Fleet(tmp_path / "second") as second:
            with pytest.raises(InvitationRefused, match="only the fleet's operator") as refused:
                second.remove("n0")
            assert "first owner" in refused.value.way_out
            with pytest.raises(DataError, match="no nodes are called"):
                fleet.remove("nobody")
            waiting = second.submit_map(SLOW, range(3), entry="slow")
            fleet.remove(FileKeyHome(tmp_path / "second" / "owner" / "identity").identity.hex())
            with pytest.raises(MemberRemoved):
                waiting.wait(timeout=60)
        with pytest.raises(MemberRemoved):
            Fleet(tmp_path / "second")
        assert fleet.map("def f(x):\n    return x\n", [1], entry="f", privacy=PRIVACY) == [1]


@pytest.mark.timeout(120)
def test_an_invitation_that_expired_opens_nothing(local, tmp_path):
    short = propolis("invite", "node", "--expires", "1s", "--json", home=local.home)
    assert short.returncode == Exit.OK, short.stderr
    record = json.loads(short.stdout)
    assert 0 <= record["expires"] - time.time() <= 1 or record["expires"] < time.time()
    while time.time() < record["expires"] + 1.5:
        time.sleep(0.1)
    done = propolis("node", "join", record["invitation"], home=tmp_path / "late")
    assert done.returncode == Exit.REFUSED
    assert "this invitation expired at" in done.stderr
    assert not (tmp_path / "late").exists()
    assert propolis("invite", "--expires", "soon", home=local.home).returncode == Exit.USAGE
    assert propolis("invite", "--expires", "0s", home=local.home).returncode == Exit.USAGE
