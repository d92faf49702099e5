"""Ctrl-C at a terminal: the whole foreground group hears it, and what is printed is ours: no traceback, no loop's debris."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name="n0")]) as fleet:
        yield fleet.home


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
    *before, last = said.splitlines()
    assert last == "left the fleet; propolis node start comes back as the same member"
    assert all(line.startswith("this machine proves nothing: ") for line in before), said


def test_a_computer_that_was_never_inside_does_not_say_that_it_left(tmp_path):
    with LocalFleet(tmp_path / "gone", []) as fleet, Fleet(fleet.home) as owner:
        text = owner.invite("node")

    def told():
        return "is not reached yet" in (tmp_path / "said").read_text()

    code, said = interrupted("node", "join", text, home=tmp_path, cwd=tmp_path, when=told)
    assert code == Exit.OK
    assert said.endswith("ended before it was inside; propolis node start tries again\n")


def test_the_first_second_of_any_verb_ends_without_a_traceback(tmp_path):
    code = "import propolis.__main__ as it; it.quietly(); print('here', flush=True); it.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--home", str(tmp_path), "privacy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (Exit.INTERRUPTED, Exit.OK)  # OK: all was said before it was heard
    assert said == ""


def test_a_verb_that_is_interrupted_while_it_waits_says_no_more_than_that(tmp_path):
    """What replaces the handler of the first second is the one that raises."""
    code = (
        "import propolis.__main__ as it, propolis.cli.main as cli, signal\n"
        "cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
        "it.main()\n"
        "print(signal.getsignal(signal.SIGINT) is it._leave)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout.split() == ["True", "True"]


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
