"""Ctrl-C at a terminal: the whole foreground group hears it, and what is printed is ours: no traceback, no loop's debris."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propolis.owner import keeper
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name="n0")]) as fleet:
        yield fleet.home
        keeper.end(fleet.home / "owner")


def interrupted(*words, home, cwd, when):
    """Run in a process group of its own, interrupt the group once `when` says so, return (exit code, stderr)."""
    with (cwd / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=cwd,
            process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 30
        while not when() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait(20)
    return code, (cwd / "said").read_text()


def test_a_waiting_run_leaves_its_job_to_the_background_and_nothing_else(home, tmp_path):
    (tmp_path / "job.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "in.json").write_text("[1]")
    code, said = interrupted(
        "run", "job.py:f", "in.json", home=home, cwd=tmp_path, when=lambda: "waiting" in (tmp_path / "said").read_text()
    )
    assert code == Exit.INTERRUPTED
    assert "goes on in the background" in said
    assert "Task was destroyed" not in said
    assert "Traceback" not in said


def test_a_lent_computer_leaves_with_one_line(home, tmp_path):
    with Fleet(home) as fleet:
        text = fleet.invite("node")

        def there():
            return any(row.report.name == "lent" for row in fleet.nodes())

        code, said = interrupted("node", "join", text, "--name", "lent", home=tmp_path, cwd=tmp_path, when=there)
    assert code == Exit.OK
    assert said == "left the fleet; propolis node start comes back as the same member\n"


def test_a_node_that_is_still_starting_ends_without_a_traceback(home, tmp_path):
    with Fleet(home) as fleet:
        text = fleet.invite("node")

    def starting():
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if b"propolis.node" in words and str(tmp_path).encode() in words:
                    return True
        return False

    code, said = interrupted("node", "join", text, home=tmp_path, cwd=tmp_path, when=starting)
    assert code == Exit.OK
    assert "Traceback" not in said
