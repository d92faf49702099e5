"""Put each test folder's own helper modules on the path; nothing that a test imports may phone home; nothing is left running.

A thread or process that outlives its test slows every later one, and may keep the run from ending: both fail the run by name.
"""

import faulthandler
import os
import sys
import threading
import time
from pathlib import Path

import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

for folder in (
    "unit/parties",
    "unit/protocols",
    "unit/vault",
    "properties",
    "evidence",
    "..",
):  # "..": fuzz/ lies beside tests/
    sys.path.insert(0, str((Path(__file__).parent / folder).resolve()))

GRACE_SECONDS = 10.0
EXIT_SECONDS = 60.0


def _busy_threads():
    """Return names of Python threads other than this one that run code right now, or would hold the interpreter at exit."""
    stacks = sys._current_frames()
    mine = threading.get_ident()
    return [t.name for t in threading.enumerate() if t.ident != mine and t.ident in stacks and not t.daemon]


def _spinning_threads():
    """Return names of threads of ours that burn CPU while nobody asks anything of them."""

    def spent():
        ticks = {}
        for thread in threading.enumerate():
            if thread.native_id and thread is not threading.current_thread():
                try:
                    fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                ticks[thread.name] = int(fields[11]) + int(fields[12])
        return ticks

    before = spent()
    time.sleep(1.0)
    return [name for name, ticks in spent().items() if ticks - before.get(name, ticks) > 50]


def _ancestors():
    """Return our process id and those of our parents."""
    found, pid = [], os.getpid()
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return found


def _processes(base):
    """Return (pid, command line) of processes that work in this run's temporary folder, or are our children."""
    above, found = _ancestors(), []  # who started us may name the folder, too
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if words and int(entry.name) not in above and (parent == os.getpid() or str(base) in words):
            found.append((int(entry.name), words[:200]))
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    base = session.config._tmp_path_factory.getbasetemp()
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := [*_busy_threads(), *_processes(base)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    left += _spinning_threads()
    if left:
        session.config.get_terminal_writer().line(f"\nleft running when the tests ended: {left}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if exitstatus == 0 else exitstatus


def pytest_unconfigure(config):
    """An interpreter that does not end is a failure with a name, not a run without an end."""
    faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True, file=sys.__stderr__)
