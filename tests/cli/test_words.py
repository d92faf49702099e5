"""What is off is said before anything runs, at the right place, with the way out; what failed says why."""

import json
import os
import re
import subprocess
import sys
import time

import msgspec
import pytest

from propolis.cli import output, rows
from propolis.cli.jobs import recent
from propolis.cli.show import folded
from propolis.messages.rows import JobRow, Verdict
from propolis.runtime.ending import Exit
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import DataError

PRIVACY = ("--privacy", "trusted-lenders")
SCRIPT = """
def same(x):
    return x
def slow(x):
    import time
    time.sleep(x)
def big(x):
    return "a" * 50_000_000
def package(x):
    import nowhere_to_be_found.sub
def odd(x):
    return {"nan": float("nan"), "inf": [float("-inf")], "bytes": b"\\x00\\xff", "complex": 1 + 2j if x == 9 else None}
lam = lambda x: x
async def later(x):
    return x
def many(x):
    yield x
class Thing:
    pass
"""


def propolis(*words, home, cwd, **environment):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=90, cwd=cwd, check=False, env={**os.environ, **environment}
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name=f"n{n}") for n in range(2)]) as fleet:
        yield fleet.home


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "job.py").write_text(SCRIPT)
    (tmp_path / "broken.py").write_text("x = 1\ndef x(:\n")
    (tmp_path / "in.json").write_text("[1, 2]")
    (tmp_path / "one.json").write_text("[1]")
    (tmp_path / "sub.onnx").mkdir()
    (tmp_path / "text.ONNX").write_text("no model")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("missing.py:f", "there is no file missing.py"),
        ("missing.onnx", "there is no file missing.onnx"),
        ("sub.onnx", "sub.onnx is a folder"),
        ("in.json", "in.json is neither a model nor a script"),
        ("job.py", "name it: job.py:FUNCTION"),
        ("job.py:lam", "lam in job.py is no function made with def: only functions made with def can travel"),
        ("job.py:later", "later in job.py is async: only functions made with def can travel"),
        ("job.py:Thing", "Thing in job.py is no function made with def"),
        ("job.py:many", "many in job.py is a generator"),
        ("job.py:nothing", "there is no function 'nothing' in job.py; there is: big, many, odd, package, same, slow"),
        ("broken.py:x", "broken.py, line 2: "),
    ],
)
def test_a_program_that_is_off_is_named_before_the_output(folder, program, word):
    done = propolis("run", program, "in.json", "-o", "o.nonsense", home=folder / "none", cwd=folder)
    assert done.returncode == Exit.USAGE
    assert word in done.stderr
    assert done.stderr.startswith("error data: ")


def test_an_ending_in_capitals_is_a_model_and_its_outputs_are_checked_as_one(folder):
    done = propolis("run", "text.ONNX", "in.json", "-o", "o.json", home=folder / "none", cwd=folder)
    assert "results of a model are written as .npz" in done.stderr


@pytest.mark.parametrize("timeout", ["-1", "-0.5"])
def test_a_negative_timeout_is_no_timeout(folder, timeout):
    done = propolis("run", "job.py:same", "in.json", "--timeout", timeout, home=folder / "none", cwd=folder)
    assert done.returncode == Exit.USAGE


@pytest.mark.parametrize("name", ["", "a", "abc", "ffffffff"])
@pytest.mark.parametrize("verb", ["stop", "logs", "explain"])
def test_a_job_that_is_none_is_a_usage_error(home, folder, verb, name):
    done = propolis(verb, name, home=home, cwd=folder)
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("error data.job: ")
    assert "propolis jobs --all" in done.stderr


def test_a_job_that_failed_says_why_and_leaves_the_file_that_was_there(home, folder):
    (folder / "o.json").write_text("old")
    done = propolis("run", "job.py:big", "one.json", *PRIVACY, "-o", "o.json", home=home, cwd=folder)
    assert done.returncode == Exit.FAILED
    assert "1 of 1 tasks failed; the last one: executor.overran: a result is over 8 MiB" in done.stdout
    assert "a result takes at most 8 MiB" in done.stdout
    assert "stays as it was" in done.stdout
    assert (folder / "o.json").read_text() == "old"
    name = done.stdout.split("job ")[1][:8]
    again = propolis("fetch", name, "-o", "o.json", "--force", home=home, cwd=folder)
    assert again.returncode == Exit.FAILED
    assert "executor.overran" in again.stdout
    assert json.loads((folder / "o.json").read_text()) == [None]


def test_a_package_that_is_not_there_is_told_with_the_way_to_it(home, folder):
    done = propolis("run", "job.py:package", "one.json", *PRIVACY, home=home, cwd=folder)
    assert "1 of 1 tasks raised; task 0: ModuleNotFoundError: No module named 'nowhere_to_be_found'" in done.stdout
    assert "--package nowhere_to_be_found" in done.stdout
    assert "--offer nowhere_to_be_found" in done.stdout
    wait = propolis(
        "run", "job.py:same", "one.json", *PRIVACY, "--package", "torch", "--timeout", "2", home=home, cwd=folder
    )
    assert wait.returncode == Exit.REFUSED
    assert "node start --offer torch" in wait.stderr


def test_results_are_valid_json_whatever_they_hold(home, folder):
    done = propolis("run", "job.py:odd", "one.json", *PRIVACY, "-o", "o.json", home=home, cwd=folder)
    assert done.returncode == Exit.OK, done.stdout

    def refuse(word):
        raise AssertionError(word)

    found = json.loads((folder / "o.json").read_text(), parse_constant=refuse)
    assert found == [{"nan": "NaN", "inf": ["-Infinity"], "bytes": "00ff", "complex": None}]
    assert output.plain([1 + 2j]) == [[1.0, 2.0]]


def test_a_whole_number_too_long_is_told_without_our_own_lines(home, folder):
    (folder / "long.json").write_text("[123456789012345678901234567890]")
    done = propolis("run", "job.py:same", "long.json", *PRIVACY, home=home, cwd=folder)
    assert done.returncode == Exit.USAGE
    assert "cannot travel" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fleet_that_was_ended_is_started_again_with_up(folder):
    fleet = LocalFleet(folder / "h", [])
    fleet.start()
    fleet.stop()
    done = propolis("jobs", home=folder / "h", cwd=folder)
    assert done.returncode == Exit.UNREACHABLE
    assert "propolis up -d" in done.stderr


def test_a_folder_that_is_not_ours_is_found_before_the_run(tmp_path, monkeypatch):
    from propolis.terms.job import Kind

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", refuse)
    with pytest.raises(DataError, match="cannot be written: Permission denied"):
        output.check(tmp_path / "o.json", Kind.FUNCTION)


def test_an_address_that_is_not_ours_is_told_in_our_own_words(tmp_path):
    done = propolis("up", "-n", "0", "--listen", "203.0.113.9:0", home=tmp_path, cwd=tmp_path)
    assert done.returncode == Exit.CONFIG
    assert "cannot listen on 203.0.113.9:0: cannot assign requested address" in done.stderr
    assert "name an address of this machine" in done.stderr
    assert ".rs" not in done.stderr


def test_what_nobody_foresaw_is_one_line_and_a_traceback_only_where_asked_for(tmp_path):
    script = (
        "import sys\nfrom propolis.cli import main\nfrom propolis.sdk import Fleet\n"
        "def broken(*_): raise RuntimeError('a wheel\\ncame off')\n"
        "Fleet.__init__ = broken\nsys.argv = ['propolis', 'jobs']\nmain.main()\n"
    )
    for debug, expected in (("", False), ("1", True)):
        environment = {**os.environ, "PROPOLIS_DEBUG": debug, "PROPOLIS_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False, env=environment
        )
        assert done.returncode == Exit.FAILED
        assert "error misuse: RuntimeError: a wheel came off\n  → this is a defect" in done.stderr
        assert ("Traceback" in done.stderr) is expected


def test_nodes_that_refuse_alike_share_a_line_and_short_names_are_told():
    reason = "nothing here proves data-in-use against A3 lender: hardware"
    verdicts = [
        Verdict(node=bytes([n]) * 32, name=f"n{n}", admitted=n == 2, reasons=() if n == 2 else (reason,))
        for n in range(3)
    ]
    table = rows.verdicts_table(verdicts)
    assert table.row_count == 2
    assert [str(cell) for cell in table.columns[0].cells] == ["n0, n1", "n2"]
    assert rows.meant(verdicts) == ["A3: the machine's owner, who has root"]
    unknown = msgspec.structs.replace(verdicts[0], reasons=("hardware (measured-boot lacks known-image, lockdown)",))
    assert "fleet policy image add" in rows.meant([unknown])[0]


def test_jobs_that_ended_long_ago_are_left_out_and_waiting_ones_never():
    def row(n, state):
        return JobRow(
            job=bytes([n]) * 16, name="", kind="function", state=state, privacy="", tasks=1, finished=0, failed=0,
            reason="", age=0.0
        )  # fmt: skip

    listed = [row(0, "pending"), *(row(n, "done") for n in range(1, 21)), row(21, "running")]
    assert [r.job[0] for r in recent(listed)] == [0, *range(11, 21), 21]


def test_sentences_end_at_the_edge_and_words_stay_whole():
    text = "  → " + "word " * 30 + "x" * 200
    lines = folded(text, 80).split("\n")
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1].strip() == "x" * 200
    assert lines[1].startswith("    word")


def test_a_default_classifier_and_named_columns_come_back_under_their_names(home, folder):
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression, LogisticRegression

    data = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.float32)
    classifier = to_onnx(LogisticRegression().fit(data, [0, 1, 0, 1]), data[:1])
    (folder / "zip.onnx").write_bytes(classifier.SerializeToString())
    (folder / "line.onnx").write_bytes(to_onnx(LinearRegression().fit(data, data[:, 0]), data[:1]).SerializeToString())
    (folder / "t.csv").write_text("age,height\n0,1\n1,0\n1,1\n")
    done = propolis("run", "zip.onnx", "t.csv", *PRIVACY, "-o", "o.npz", home=home, cwd=folder)
    assert done.returncode == Exit.OK, done.stderr
    with np.load(folder / "o.npz") as found:
        assert found["output_label"].tolist() == [0, 1, 1]
        assert np.allclose(found["output_probability.0"] + found["output_probability.1"], 1)
    done = propolis("run", "line.onnx", "t.csv", *PRIVACY, "-o", "o.csv", home=home, cwd=folder)
    assert done.returncode == Exit.OK, done.stderr
    assert (folder / "o.csv").read_text().splitlines()[0] == "variable"


def test_a_job_without_an_output_says_how_to_get_its_results(home, folder):
    done = propolis("run", "job.py:same", "in.json", *PRIVACY, home=home, cwd=folder)
    assert done.returncode == Exit.OK, done.stderr
    assert re.search(r"job (\w{8}) done: 2 tasks\n  → propolis fetch \1 -o FILE", done.stdout)


def test_a_fetch_that_wrote_nothing_is_no_success(home, folder):
    (folder / "in.json").write_text("[60]")
    sent = propolis("run", "job.py:slow", "in.json", *PRIVACY, "--no-wait", "--json", home=home, cwd=folder)
    job = json.loads(sent.stdout)["job"]
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            done = propolis("fetch", job, "-o", "o.json", "--timeout", "0.2", "--json", home=home, cwd=folder)
            if json.loads(done.stdout)["state"] == "running":
                break
        assert done.returncode == Exit.UNFINISHED
        assert not (folder / "o.json").exists()
        waits = propolis("run", "job.py:same", "in.json", "--timeout", "3", "--json", home=home, cwd=folder)
        told = propolis("explain", json.loads(waits.stdout)["job"], home=home, cwd=folder)
        assert "if you accept it, --privacy trusted-lenders" in told.stdout
    finally:
        propolis("stop", job, home=home, cwd=folder)


def test_memory_no_machine_has_is_a_usage_error(folder):
    done = propolis("run", "job.py:same", "in.json", "--memory-mb", "99999999", home=folder / "none", cwd=folder)
    assert done.returncode == Exit.USAGE
    assert "--memory-mb" in done.stderr


def test_down_where_nothing_runs_says_so(tmp_path):
    done = propolis("down", home=tmp_path / "none", cwd=tmp_path)
    assert done.returncode == Exit.OK
    assert f"no local fleet runs in {tmp_path / 'none'}" in done.stdout


def test_a_home_that_cannot_be_made_is_told_as_a_setting(tmp_path):
    (tmp_path / "file").write_text("")
    done = propolis("up", "-n", "0", "-d", home=tmp_path / "file" / "home", cwd=tmp_path)
    assert done.returncode == Exit.CONFIG
    assert "cannot be made: Not a directory" in done.stderr
    assert "--home" in done.stderr
