"""A store that is full to its last page under a whole orchestrator: it goes on serving, and what it said is kept.

SQLite itself refuses the pages (`PRAGMA max_page_count`); the orchestrator is its own process, assembled as always.
"""

import os
import time

import pytest

from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import InvitationRefused, RequirementUnmet

PRIVACY = "trusted-lenders"
SMALL = """
import os
from pathlib import Path
from propolis.adapters.store.sqlite import SqliteStore
from propolis.orchestrator import __main__, assembly, life
from propolis.terms.errors import StoreFull

class Small(SqliteStore):
    failed = False

    def limit(self):
        self._db.execute(f"PRAGMA max_page_count={Path(os.environ['PAGES']).read_text()}")

    def commit(self, writes):
        self.limit()
        try:
            super().commit(writes)
        except StoreFull:
            Small.failed = True
            raise

    def room(self):
        self.limit()
        return super().room() if Small.failed or not os.environ["UNSEEN"] else 1 << 40

life.SqliteStore, assembly.RESERVE = Small, 1 << 20
raise SystemExit(__main__.main())
"""
FULL, FREE = "1", "1000000"
LONG = "def slow(x):\n    import time\n    time.sleep(0.05)\n    return bytes([x % 256]) * (50_000 + 8_000 * x)\n"  # freed pages are never enough


class SmallDisk(LocalFleet):
    """A local fleet whose orchestrator's store holds as many pages as the file says."""

    def _launch(self, words, name, *more):
        if words[0] == "propolis.orchestrator":
            words = ["small_orchestrator", *words[1:]]
        return super()._launch(words, name, *more)


@pytest.fixture
def fleet(tmp_path, monkeypatch, request):
    """`unseen`: nobody looks how much room there is before a write failed."""
    (tmp_path / "small_orchestrator.py").write_text(SMALL)
    pages = tmp_path / "pages"
    holds(pages, FREE)
    monkeypatch.setenv("PAGES", str(pages))
    monkeypatch.setenv("UNSEEN", getattr(request, "param", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with SmallDisk(tmp_path / "fleet", [NodeLimits(name="n0")]) as local:
        yield local, pages


def holds(pages, count):
    """Say how many pages the store may have; whole at once, as the orchestrator reads it at any moment."""
    fresh = pages.with_suffix(".new")
    fresh.write_text(count)
    fresh.replace(pages)


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def results(count):
    return [bytes([x % 256]) * (50_000 + 8_000 * x) for x in range(count)]


def refused(fleet):
    job = fleet.submit_map("def f(x):\n    return x\n", [1], entry="f", privacy=PRIVACY)
    assert job.wait(timeout=60) == "refused", job.reason()
    with pytest.raises(RequirementUnmet, match="disk is full"):
        job.results()


@pytest.mark.parametrize("fleet", ["unseen"], indirect=True)
@pytest.mark.timeout(240)
def test_a_store_full_to_the_last_page_ends_nothing_and_every_result_comes_once_there_is_room(fleet):
    local, pages = fleet
    with Fleet(local.home) as owner:
        job = owner.submit_map(LONG, range(150), entry="slow", privacy=PRIVACY)
        until(lambda: job.finished >= 5)
        holds(pages, FULL)
        log = local.home / "logs" / "orchestrator.log"
        until(lambda: "what came last is not kept" in log.read_text())
        until(lambda: "the disk is full" in log.read_text())
        refused(owner)
        until(lambda: "disk is full" in job.reason(), 30)
        assert [row.state for row in owner.nodes()] == ["up"]
        assert owner.explain(job.id).job.finished < 150
        assert local.orchestrator.poll() is None
        with pytest.raises(InvitationRefused, match="disk is full"):
            owner.invite("node")
        holds(pages, FREE)
        assert job.wait(timeout=120) == "done", owner.explain(job.id)
        assert job.results() == results(150)
        assert owner.map("def f(x):\n    return x\n", [3], entry="f", privacy=PRIVACY) == [3]


@pytest.mark.timeout(240)
def test_an_orchestrator_starts_on_a_full_store_and_gives_results_away(fleet):
    local, pages = fleet
    with Fleet(local.home) as owner:
        job = owner.submit_map(LONG, range(150), entry="slow", privacy=PRIVACY)
        until(lambda: job.finished >= 5)
        name = job.id
    state = local.home / "orchestrator" / "state.db"
    size = state.stat().st_size
    until(lambda: state.stat().st_size > size + (1 << 20))  # results nobody takes
    holds(pages, FULL)
    local.kill("orchestrator")
    local.start_orchestrator()
    with Fleet(local.home, connect_timeout=30) as owner:
        again = owner.job(name)
        here = again.finished
        until(lambda: again.finished > here)  # a full store gives its results away
        refused(owner)
        holds(pages, FREE)
        assert again.wait(timeout=120) == "done", owner.explain(name)
        assert again.results() == results(150)
