"""Jobs that fail for good, with real processes: at import, while loading, in a task. Said within seconds, coded, and why."""

import json
import subprocess
import sys

import pytest

from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import Crashed

PRIVACY = ("--privacy", "trusted-lenders")
RAISES = "raise ValueError('no such table')\ndef f(x):\n    return x\n"
ENDS = "import os\nos._exit(3)\ndef f(x):\n    return x\n"
DIES = "def f(x):\n    import os\n    os._exit(3)\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name=f"n{n}") for n in range(3)]) as fleet:
        yield fleet.home


def run(home, folder, source, *words):
    (folder / "job.py").write_text(source)
    (folder / "in.json").write_text("[1, 2, 3]")
    command = [sys.executable, "-m", "propolis", "--home", str(home), "run", "job.py:f", "in.json", *PRIVACY, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder, check=False)


def test_a_module_that_raises_at_import_is_told_to_its_owner_with_what_it_raised(home, tmp_path):
    done = run(home, tmp_path, RAISES)
    assert done.returncode == Exit.FAILED, done.stderr
    assert "3 of 3 tasks raised" in done.stdout
    assert "ValueError: no such table" in done.stdout
    record = json.loads(run(home, tmp_path, RAISES, "--json").stdout)
    assert (record["raised"], record["finished"]) == (3, 3)


def test_a_program_that_ends_its_guests_while_it_loads_fails_its_job_and_says_so(home, tmp_path):
    done = run(home, tmp_path, ENDS, "--json")
    assert done.returncode == Exit.FAILED, done.stderr
    record = json.loads(done.stdout)
    assert (record["state"], record["finished"]) == ("failed", 0)
    assert "its program ends its guests while it loads, on 3 nodes; the last one: executor.crashed" in record["reason"]
    with Fleet(home) as fleet:
        job = fleet.job(record["job"])
        assert job.wait(timeout=30) == "failed"
        with pytest.raises(Crashed, match="while it loads"):
            job.results()
    assert "failed: its program ends its guests while it loads" in run(home, tmp_path, ENDS).stdout


def test_a_task_that_ends_its_guests_fails_for_good_and_says_so(home, tmp_path):
    done = run(home, tmp_path, DIES, "--json")
    assert done.returncode == Exit.FAILED, done.stderr
    record = json.loads(done.stdout)
    assert record["state"] == "failed"
    assert "3 of 3 tasks failed; the last one: executor.crashed" in record["reason"]
