"""What the recorder does with a machine that lies in its way: hangs, floods, denials; and what it never brings back."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from propolis.adapters.probe import asking, linux_calls
from propolis.adapters.probe.choice import probe_here
from propolis.adapters.probe.linux import PLAN
from propolis.adapters.probe.plan import Command, Leaves, Plan, lines_with, processors, words_with
from propolis.adapters.probe.recorder import Recorder
from propolis.adapters.probe.replayed import Replayed
from propolis.decisions.capabilities.reading import read
from propolis.runtime.known import known_weaknesses
from propolis.terms.errors import DataError
from propolis.terms.finding import State
from propolis.terms.recording import MOST_TEXT, Outcome, from_json, to_json

LONG = 600  # seconds a hanging thing would take; every test here ends long before


def python(code: str, key: str, seconds: float = 60.0, **more) -> Command:
    return Command((sys.executable, "-c", code), key=key, seconds=seconds, **more)


def test_a_command_that_hangs_costs_its_own_bound_and_the_others_are_answered():
    plan = Plan(
        commands=(
            python(f"import time; time.sleep({LONG})", "command:hangs", seconds=0.3),
            python(f"import time; print('x', flush=True); time.sleep({LONG})", "command:hangs half-way", seconds=0.3),
            python("print('quick')", "command:quick"),
        ),
        calls={"also": lambda: "answered"},
        seconds=60,
    )
    began = time.monotonic()
    seen = Recorder(plan).record().seen
    assert time.monotonic() - began < 50  # neither LONG nor a sum of bounds
    assert seen["command:hangs"].outcome is seen["command:hangs half-way"].outcome is Outcome.LATE
    assert seen["command:quick"].text.strip() == "quick"
    assert seen["call:also"].text == "answered"


def test_what_outlives_its_command_is_ended_with_it(tmp_path):
    mark = tmp_path / "pid"
    code = (
        f"import subprocess, sys; p = subprocess.Popen(['sleep', '{LONG}']); open({str(mark)!r}, 'w').write(str(p.pid))"
    )
    seen = Recorder(Plan(commands=(python(code, "command:parent", seconds=20),), seconds=60)).record().seen
    assert seen["command:parent"].outcome is Outcome.OK  # it ended; that its child holds the pipe is no reason to wait
    child = int(mark.read_text())
    for _ in range(300):
        try:
            os.kill(child, 0)
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the child of a command lives on")


def test_a_call_that_never_returns_is_late_and_left_behind():
    import threading

    gate = threading.Event()
    seen = Recorder(Plan(calls={"stuck": lambda: str(gate.wait(LONG)), "free": lambda: "x"}, seconds=1.0)).record().seen
    gate.set()
    assert (seen["call:stuck"].outcome, seen["call:free"].text) == (Outcome.LATE, "x")


def test_a_file_that_never_answers_leaves_what_comes_after_unknown(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "before").write_text("1")
    plan = Plan(texts=(str(tmp_path / "before"), str(tmp_path / "fifo"), str(tmp_path / "after")), seconds=1.0)
    recording = Recorder(plan).record()
    assert recording.text(f"file:{tmp_path}/before") == "1"
    assert recording.at(f"file:{tmp_path}/after").outcome is Outcome.DENIED  # never asked: no more than a denial
    writer = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)  # the thread that waited may go
    os.close(writer)


def test_floods_are_cut(tmp_path):
    (tmp_path / "large").write_text("x" * (MOST_TEXT + 1))
    flood = python("import sys\nwhile True: sys.stdout.write('y' * 65536)", "command:flood", seconds=1)
    seen = Recorder(Plan(texts=(str(tmp_path / "large"),), commands=(flood,), seconds=60)).record().seen
    assert seen[f"file:{tmp_path}/large"].outcome is Outcome.CUT
    assert seen["command:flood"].outcome is Outcome.LATE
    assert all(len(each.text) <= MOST_TEXT for each in seen.values())
    noisy = python("import sys; sys.stderr.write('e' * 2**20); print('done')", "command:noisy", seconds=20)
    assert Recorder(Plan(commands=(noisy,), seconds=60)).record().seen["command:noisy"].outcome is not Outcome.LATE


def test_of_what_floods_only_the_beginning_is_kept_in_memory():
    import io

    beginning = asking._Beginning(io.BufferedReader(io.BytesIO(b"x" * 1_000_000)), 4096)
    for _ in range(300):
        if not beginning._thread.is_alive():
            break
        time.sleep(0.1)
    assert beginning.text() == "x" * 4096


def test_what_is_missing_denied_or_broken_is_told_apart(tmp_path):
    closed = tmp_path / "closed"
    closed.write_text("1")
    assert asking.text(str(tmp_path / "none")).outcome is Outcome.MISSING
    assert asking.text(str(tmp_path)).outcome is Outcome.FAILED  # a folder is no file
    assert asking.opened(str(tmp_path / "none")).outcome is Outcome.MISSING
    assert asking.run(Command(("no-such-command-anywhere",))).outcome is Outcome.MISSING
    assert asking.run(python("raise SystemExit(3)", "x")).outcome is Outcome.FAILED
    assert asking.run(python("print('none'); raise SystemExit(1)", "x", partial=True)).text.strip() == "none"
    assert asking.run(python("import sys; sys.exit('x: unrecognized option --cvm')", "x")).outcome is Outcome.MISSING
    assert asking.called(lambda: str(1 // 0)).outcome is Outcome.FAILED

    def refuse():
        raise PermissionError(13, "no")

    assert asking.called(refuse).outcome is Outcome.DENIED
    if os.geteuid():  # root is denied nothing
        closed.chmod(0)
        assert asking.text(str(closed)).outcome is Outcome.DENIED


def test_leaves_are_found_by_their_beginnings(tmp_path):
    for name in ("domain0", "domain1", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "leaf").write_text(name)
    seen = Recorder(Plan(leaves=(Leaves(str(tmp_path), ("domain",), ("leaf", "none")),), seconds=30)).record().seen
    assert seen[f"folder:{tmp_path}"].text == "domain0\ndomain1"
    assert {key for key in seen if key.startswith("file:")} == {f"file:{tmp_path}/domain{n}/leaf" for n in (0, 1)}


def test_nothing_that_names_a_machine_or_a_person_is_kept():
    board = "processor\t: 0\nflags\t: a\nSerial\t\t: 00000000abcdef01\n\nprocessor\t: 1\nSerial\t: 2\nModel\t: Board\n"
    assert "abcdef01" not in processors(board)
    assert processors(board).count("processor") == 2
    assert "Board" in processors(board)
    assert (
        PLAN.kept["/proc/swaps"]("Filename Type\n/home/somebody/swapfile file 1 0 -2")
        == "Filename Type\na-file file 1 0 -2"
    )
    assert (
        words_with("iommu", "lockdown=")("root=UUID=1234 iommu=pt user=ada lockdown=integrity")
        == "iommu=pt lockdown=integrity"
    )
    assert (
        lines_with("Model Name:")("  Model Name: Apple T2\n  Serial Number: C02\n  Boot UUID: 1")
        == "  Model Name: Apple T2"
    )
    places = " ".join((*PLAN.texts, *PLAN.kept, *PLAN.binaries, *(name for each in PLAN.leaves for name in each.names)))
    for word in ("serial", "uuid", "machine-id", "hostname", "address", "asset_tag"):
        assert word not in places


def test_many_processors_are_cut_to_two_and_counted():
    text = "\n\n".join(f"processor\t: {n}\nflags\t: {'f ' * 300}" for n in range(512))
    kept = processors(text)
    assert len(kept) < MOST_TEXT
    assert sum(line.startswith("processor") for line in kept.split("\n")) == 512


@pytest.mark.parametrize(
    "answer", [b"", b"\0" * 10, bytes.fromhex("8001000000130000000001"), bytes(4096), b"\xff" * 64]
)
def test_nonsense_of_a_tpm_is_a_refused_call(answer):
    with pytest.raises(OSError, match=r"no list|unpack"):
        linux_calls.properties(answer)


def test_a_tpms_properties_are_read_and_what_varies_is_left_out():
    body = bytes.fromhex("01 00000006 00000003 00000105 494e5443 0000010b 02580012 00000206 00000009".replace(" ", ""))
    answer = bytes.fromhex("8001") + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body
    assert linux_calls.properties(answer) == "0x105 0x494e5443\n0x10b 0x2580012"


@pytest.mark.skipif(sys.platform != "linux", reason="a plan for Linux")
@pytest.mark.skipif(sys.platform != "linux", reason="the second is promised on Linux")
def test_probing_this_machine_takes_under_a_second():
    """The quickest of five: what else runs here is not the probe's."""

    def once():
        began = time.monotonic()
        assert read(probe_here().record(), known_weaknesses()).facts
        return time.monotonic() - began

    assert min(once() for _ in range(5)) < 1.0


def test_this_machine_is_recorded_without_a_socket_and_all_facts_are_of_it(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a probe uses no network")

    monkeypatch.setattr(socket, "socket", refuse)
    recording = probe_here().record()
    assert from_json(to_json(recording)) == recording
    found = read(Replayed(recording).record())
    assert found.fact("system.kernel").state is State.PRESENT
    assert found.fact("memory.size").state is State.PRESENT
    assert all(each.when == recording.taken for each in found.facts)
    node = os.uname().nodename
    assert len(node) < 4 or node.encode() not in to_json(recording)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"system":"linux"}', b'{"system":"l","machine":"m","taken":"now"}', b"[" * 100_000]
)
def test_a_file_that_is_no_recording_is_refused(data):
    with pytest.raises(DataError, match="no recording"):
        from_json(data)
