"""A fleet that proves itself, for real: processes, sockets, sandboxes, and an swtpm for every node that has a TPM."""

import shutil
import time

import msgspec
import pytest

from propolis.adapters.tpm.client import Tpm
from propolis.adapters.world.system import SystemEntropy
from propolis.runtime import config
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.sdk.rehearsal import IMAGE, Boot, Rehearsal
from propolis.terms.errors import ConfigError

pytestmark = [
    pytest.mark.skipif(
        shutil.which("swtpm") is None or shutil.which("swtpm_setup") is None,
        reason="swtpm is not installed: apt install swtpm swtpm-tools",
    ),
    pytest.mark.timeout(300),
]
WORK = "def double(x):\n    return x * 2\n"
SECONDS = 90.0


def until(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to it in time"
        time.sleep(0.05)
    return found


def by_name(owner):
    return {row.report.name: row for row in owner.nodes()}


def submit(owner, privacy="measured", count=40):
    return owner.submit_map(WORK, list(range(count)), entry="double", privacy=privacy)


@pytest.fixture
def chips(tmp_path):
    boots = {"tampered": Boot(image="something else", logged=IMAGE), "other": Boot(image="unknown"), "plain": None}
    return Rehearsal(tmp_path, boots)


@pytest.fixture
def local(tmp_path, chips):
    names = ("good", "tampered", "other", "plain")
    fleet = LocalFleet(tmp_path, [NodeLimits(name=name) for name in names], rehearsal=chips)
    fleet.start()
    yield fleet
    fleet.stop()


def test_emulated_tpms_are_refused_by_default_and_count_labelled_under_a_rehearsals_policy(local, tmp_path):
    with Fleet(tmp_path) as owner:
        job = submit(owner)
        until(lambda: all(row.unproven for name, row in by_name(owner).items() if name != "plain"))
        assert all(row.unproven.startswith("emulated: ") for name, row in by_name(owner).items() if name != "plain")
        assert job.wait(timeout=1) == "pending"
        assert "emulated" in job.reason()
    local.rehearse()
    with Fleet(tmp_path) as owner:
        job = owner.job(job.id)
        assert job.wait(timeout=SECONDS) == "done"
        rows = by_name(owner)
        assert {item.node for item in job.ran()} == {rows["good"].node}
        assert all(each.emulated for each in rows["good"].proven)
        assert rows["tampered"].unproven.startswith("log_replay: ")
        assert rows["other"].proven, "it proves what it booted"
        assert "known-image" not in rows["other"].proven[0].claims, "and that nobody knows it"
        assert not rows["plain"].proven
        explained = owner.explain(job.id)
        assert [v.name for v in explained.verdicts if v.admitted] == ["good"]
        stored = submit(owner, "stored", 3)
        assert stored.wait(timeout=SECONDS) == "done"
        assert {item.node for item in stored.ran()} == {rows["good"].node}
        private = submit(owner, "private", 3)
        assert private.wait(timeout=2) == "pending", "a TPM keeps no data from its owner"


def test_an_owner_that_did_not_accept_a_rehearsal_gives_no_key_to_it(local, tmp_path):
    local.rehearse()
    path = tmp_path / "owner" / "fleet.json"
    config.write(path, msgspec.structs.replace(config.read(path, config.FleetFile), rehearsal=False))
    with Fleet(tmp_path) as owner:
        job = submit(owner)
        until(lambda: any("key denied" in line for line in owner.explain(job.id).events))
        assert any("emulated" in line for line in owner.explain(job.id).events)
        assert not owner.explain(job.id).granted
        assert job.wait(timeout=1) == "pending"
        assert job.finished == 0


def test_what_moves_after_the_quote_keeps_the_grant_shut_and_a_reboot_makes_it_good(local, chips, tmp_path):
    """The registers are extended behind the orchestrator's back: the lease goes on, the owner's own look does not."""
    local.rehearse()
    with Fleet(tmp_path) as owner:
        with Tpm(chips._emulators["good"].line(), SystemEntropy()) as tpm:
            tpm.pcr_extend(4, b"x" * 32)
        job = submit(owner)
        until(lambda: any("log_replay" in line for line in owner.explain(job.id).events))
        assert job.finished == 0
        assert not owner.explain(job.id).granted
        chips.reboot("good")
        owner.set_policy(owner.policy_text().replace('name = "rehearsal"', 'name = "again"'))
        assert job.wait(timeout=SECONDS) == "done"


def test_a_tpm_that_is_killed_proves_nothing_more_and_its_node_stays_a_member(local, chips, tmp_path):
    local.rehearse()
    with Fleet(tmp_path) as owner:
        assert submit(owner).wait(timeout=SECONDS) == "done"
        chips._emulators["good"].kill()
        job = submit(owner)
        until(lambda: any("key denied" in line for line in owner.explain(job.id).events))
        assert job.finished == 0
        owner.set_policy(owner.policy_text().replace('name = "rehearsal"', 'name = "again"'))
        until(lambda: by_name(owner)["good"].unproven.startswith("no_evidence: "))
        assert by_name(owner)["good"].state == "up"
        trusting = submit(owner, "trusted-lenders", 3)
        assert trusting.wait(timeout=20) == "done", (trusting.reason(), owner.explain(trusting.id))


def test_a_lease_is_renewed_and_the_orchestrators_death_changes_nothing(local, tmp_path):
    local.rehearse()
    with Fleet(tmp_path) as owner:
        owner.set_policy("lease_seconds = 30\n" + owner.policy_text())
        until(lambda: by_name(owner)["good"].proven)
        local.kill("orchestrator")
        local.start_orchestrator()
        until(lambda: by_name(owner).get("good") and by_name(owner)["good"].proven)
        assert submit(owner).wait(timeout=SECONDS) == "done"


def test_a_policy_that_is_none_is_refused_and_the_old_one_stays(local, tmp_path):
    with Fleet(tmp_path) as owner:
        before = owner.policy_text()
        with pytest.raises(ConfigError, match="colour"):
            owner.set_policy('colour = "red"')
        assert owner.policy_text() == before
