"""Whole houses for real: processes, QUIC, sandboxes, SQLite. Kills of everything; the owner sees each result once."""

import time

import msgspec
import pytest

from propolis.adapters.store.sqlite import SqliteStore
from propolis.decisions.privacy import requirement_for
from propolis.ports.wire import MAX_STREAMS
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import ConfigError, DataError, InvitationRefused, RequirementUnmet, StoreFull, TaskRaised

PRIVACY = "trusted-lenders"


def slow(x):
    import time

    time.sleep(0.02)
    return x * 2


def double(x):
    return x * 2


async def later(x):
    return x


def many(x):
    yield x


class Thing:
    def __call__(self, x):
        return x


def picky(x):
    print("looking at", x)
    return 1 / x


@pytest.fixture
def local(tmp_path):
    fleet = LocalFleet(tmp_path, [NodeLimits(name=f"n{n}") for n in range(3)])
    fleet.start()
    yield fleet
    fleet.stop()


def wait_for(job, count):
    deadline = time.monotonic() + 30
    while job.finished < count and time.monotonic() < deadline:
        job.wait(timeout=0.05)
    assert job.finished >= count


def test_a_private_map(local):
    with Fleet(local.home) as fleet:
        assert fleet.map(double, range(200), privacy=PRIVACY) == [2 * n for n in range(200)]
        assert [node.state for node in fleet.nodes()] == ["up"] * 3


def test_one_session_submits_more_jobs_than_a_line_has_streams(local):
    """Each job's program travels on a stream of the owner's line: more of them than MAX_STREAMS, one after the other."""
    with Fleet(local.home) as fleet:
        for n in range(MAX_STREAMS + 6):
            source = f"def f(x):\n    return x + {n}\n"
            job = fleet.submit_map(source, [1], entry="f", privacy=PRIVACY)
            assert job.wait(timeout=15) == "done", f"job {n}: {job.reason()}"
            assert job.results() == [1 + n]


def test_what_raises_is_told_and_logged(local):
    with Fleet(local.home) as fleet:
        job = fleet.submit_map(picky, [1, 0, 2], privacy=PRIVACY)
        assert job.wait(timeout=30) == "done"
        with pytest.raises(TaskRaised, match="ZeroDivisionError"):
            job.results()
        assert any("looking at 2" in text for _, text in job.logs())


def test_private_by_default_waits_visibly(local):
    with Fleet(local.home) as fleet:
        with pytest.raises(RequirementUnmet, match="nothing here proves data-in-use against A3 lender"):
            fleet.map(double, [1])
        (row,) = fleet.jobs()
        assert row.state == "pending"
        explained = fleet.explain(row.job.hex())
        assert not any(verdict.admitted for verdict in explained.verdicts)
        fleet.stop(row.job.hex()[:8])
        fleet.job(row.job.hex()).wait(timeout=5)


def test_node_killed_mid_job(local):
    with Fleet(local.home) as fleet:
        job = fleet.submit_map(slow, range(300), privacy=PRIVACY)
        wait_for(job, 30)
        local.kill("n0")
        assert job.wait(timeout=60) == "done"
        assert job.results() == [2 * n for n in range(300)]


def test_orchestrator_killed_and_restarted(local):
    with Fleet(local.home) as fleet:
        job = fleet.submit_map(slow, range(300), privacy=PRIVACY)
        wait_for(job, 30)
        local.kill("orchestrator")
        local.start_orchestrator()
        assert job.wait(timeout=60) == "done"
        assert job.results() == [2 * n for n in range(300)]


def test_client_closed_and_reopened(local):
    with Fleet(local.home) as fleet:
        job = fleet.submit_map(slow, range(300), privacy=PRIVACY)
        wait_for(job, 30)
        name = job.id[:8]
    time.sleep(1)
    with Fleet(local.home) as fleet:
        again = fleet.job(name)
        assert again.wait(timeout=60) == "done"
        assert again.results() == [2 * n for n in range(300)]


def test_node_rejoins_with_the_same_identity(local):
    with Fleet(local.home) as fleet:
        before = {node.node for node in fleet.nodes()}
        local.kill("n1")
        local.start_node(NodeLimits(name="n1"))
        assert {node.node for node in fleet.nodes()} == before


def test_an_invitation_opens_once(local):
    with Fleet(local.home) as fleet:
        text = fleet.invite("node")
    local.start_node(NodeLimits(name="guest"), text)
    with pytest.raises(ConfigError, match="did not start"):
        local.start_node(NodeLimits(name="thief"), text)


def test_a_stranger_is_turned_away(local, tmp_path):
    with Fleet(local.home) as fleet:
        with pytest.raises(DataError, match="a node or an owner"):
            fleet.invite("admin")
        text = fleet.invite("owner")
    Fleet.join(text, tmp_path / "second")
    with Fleet(tmp_path / "second") as second:
        assert second.jobs() == []
        with pytest.raises(InvitationRefused, match="operator"):
            second.invite("node")
    with pytest.raises(InvitationRefused):
        Fleet.join(text, tmp_path / "third")


def test_bad_input_is_named_before_anything_leaves(local):
    from propolis.cli.demo import model

    with Fleet(local.home) as fleet:
        with pytest.raises(DataError, match="wants shape"):
            fleet.infer(model(), [[1.0, 2.0]], privacy=PRIVACY)
        with pytest.raises(DataError, match="no model file"):
            fleet.infer("missing.onnx", [[1.0]], privacy=PRIVACY)
        with pytest.raises(DataError, match="onnxruntime can load"):
            fleet.infer(b"junk", [[1.0]], privacy=PRIVACY)
        with pytest.raises(DataError, match="cannot travel"):
            fleet.map(double, [object()], privacy=PRIVACY)
        far = msgspec.structs.replace(requirement_for(PRIVACY), region="No Such Place")
        with pytest.raises(DataError, match="out of bounds"):
            fleet.map(double, [1], privacy=far)
        for inputs, word in (
            (5, "inputs are a int"),
            ("ab", "inputs are a str"),
            ({"a": 1}, "a dict"),
            ([], "no inputs"),
        ):
            with pytest.raises(DataError, match=word):
                fleet.map(double, inputs, privacy=PRIVACY)
        for function in (lambda x: x, later, Thing(), many):
            with pytest.raises(DataError, match="only functions made with def"):
                fleet.map(function, [1], privacy=PRIVACY)
        assert fleet.map(double, (n for n in range(3)), privacy=PRIVACY) == [0, 2, 4]
        with pytest.raises(DataError, match="unknown privacy"):
            fleet.map(double, [1], privacy="none")
        with pytest.raises(RequirementUnmet, match="does not offer the package torch"):
            fleet.map(double, [1], privacy=PRIVACY, packages=["torch"])


def test_a_full_disk_under_the_owner_is_said_and_a_next_try_goes_on(local, monkeypatch):
    def full(store, writes):
        raise StoreFull("no space is left")

    with Fleet(local.home) as fleet:
        job = fleet.submit_map(slow, range(200), privacy=PRIVACY)
        wait_for(job, 10)
        with monkeypatch.context() as broken:
            broken.setattr(SqliteStore, "commit", full)
            with pytest.raises(StoreFull):
                job.wait(timeout=20)
        assert fleet.job(job.id).wait(timeout=60) == "done"
        assert job.results() == [2 * n for n in range(200)]
