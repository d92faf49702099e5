"""The command line as a person or a script meets it: help, exit codes, JSON, errors that say what to do."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

ROOT = Path(__file__).parents[2]


def propolis(*words, home, cwd=None):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=cwd)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    fleet = LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name=f"n{n}") for n in range(2)])
    fleet.start()
    yield fleet.home
    fleet.stop()


VERBS = [
    "attest",
    "demo",
    "doctor",
    "down",
    "explain",
    "fetch",
    "fleet",
    "invite",
    "jobs",
    "join",
    "logs",
    "node",
    "nodes",
    "privacy",
    "run",
    "sim",
    "stop",
    "up",
    "verify",
]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, tmp_path):
    done = propolis(verb, "--help", home=tmp_path)
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert len(done.stdout.splitlines()) > 3


def test_the_exit_codes_are_the_documented_ones():
    text = (ROOT / "docs/reference/cli.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == {int(code) for code in Exit}


def test_no_fleet_here(tmp_path):
    done = propolis("nodes", home=tmp_path)
    assert done.returncode == Exit.CONFIG
    assert "propolis up" in done.stderr


def test_a_wrong_word_is_a_usage_error(tmp_path):
    assert propolis("fly", home=tmp_path).returncode == Exit.USAGE


@pytest.mark.parametrize("other", ["--no-tpm", "--i-rehearse-with-an-emulated-tpm=chip"])
def test_two_words_that_name_different_tpms_are_a_usage_error(tmp_path, other):
    done = propolis("node", "join", "--tpm", other, "propolis1-abc", home=tmp_path)
    assert (done.returncode, "only one of" in done.stderr) == (Exit.USAGE, True)


def test_a_broken_invitation_is_named(tmp_path):
    done = propolis("join", "propolis1-abc", home=tmp_path)
    assert done.returncode == Exit.REFUSED
    assert "fresh invitation" in done.stderr


def test_run_fetch_logs_explain_stop(home, tmp_path):
    (tmp_path / "job.py").write_text("def twice(x):\n    print('got', x)\n    return x * 2\n")
    (tmp_path / "in.json").write_text("[1, 2, 3]")
    done = propolis(
        "run",
        "job.py:twice",
        "in.json",
        "--privacy",
        "trusted-lenders",
        "-o",
        "out.json",
        "--json",
        home=home,
        cwd=tmp_path,
    )
    assert done.returncode == Exit.OK, done.stderr
    record = json.loads(done.stdout)
    assert record["state"] == "done"
    assert json.loads((tmp_path / "out.json").read_text()) == [2, 4, 6]
    name = record["job"][:8]
    assert "got 2" in propolis("logs", name, home=home).stdout
    explained = json.loads(propolis("explain", name, "--json", home=home).stdout)
    assert explained["job"]["finished"] == 3
    told = propolis("explain", name, home=home).stdout
    assert "KEY GIVEN" in told
    assert all(one["receipt"][:8] in told and one["node"][:8] in told for one in explained["granted"])
    assert propolis("fetch", name, "-o", tmp_path / "again.json", home=home).returncode == Exit.OK
    assert json.loads((tmp_path / "again.json").read_text()) == [2, 4, 6]


def test_a_job_that_demands_proof_waits_and_says_why(home, tmp_path):
    (tmp_path / "job.py").write_text("def f(x):\n    return x\n")
    (tmp_path / "in.json").write_text("[1]")
    done = propolis("run", "job.py:f", "in.json", "--timeout", "3", home=home, cwd=tmp_path)
    assert done.returncode == Exit.REFUSED
    assert "nothing here proves" in done.stderr
    assert "--privacy trusted-lenders" in done.stderr
    rows = json.loads(propolis("jobs", "--json", home=home).stdout)
    pending = next(row for row in rows if row["state"] == "pending")
    assert propolis("stop", pending["job"][:8], home=home).returncode == Exit.OK


def test_inference_over_csv(home, tmp_path):
    data = ROOT / "src/propolis/cli/data"
    rows = [",".join(line.split(",")[:30]) for line in (data / "breast_cancer.csv").read_text().splitlines()[:101]]
    (tmp_path / "in.csv").write_text("\n".join(rows))
    done = propolis(
        "run",
        data / "breast_cancer.onnx",
        tmp_path / "in.csv",
        "--privacy",
        "trusted-lenders",
        "-o",
        tmp_path / "o.npz",
        home=home,
    )
    assert done.returncode == Exit.OK, done.stderr
    import numpy as np

    with np.load(tmp_path / "o.npz") as found:
        assert found["label"].shape == (100,)


def test_doctor_claims_nothing_proven_and_tells_all_in_json(tmp_path):
    told = json.loads(propolis("doctor", "--json", home=tmp_path).stdout)
    assert next(row for row in told["summary"] if row["what"] == "proven")["found"] == "nothing"
    assert told["proven"] == []
    assert all(line["proven"] == [] for line in told["technologies"])
    held = {cell["level"] for cell in told["guarantees"]}
    assert held <= {"none", "empirical", "proof"}
    assert len(told["guarantees"]) == 35
    assert {fact["name"] for fact in told["facts"]} >= {"tpm.chip", "tee.sev-snp", "isolation.landlock"}
    assert all(
        fact["state"] in ("absent", "unknown", "present", "enabled", "usable") and fact["when"]
        for fact in told["facts"]
    )


def test_doctor_judges_a_recording_writes_it_again_and_makes_a_page(tmp_path):
    first = propolis(
        "doctor", "--record", tmp_path / "here.json", "--page", tmp_path / "page.html", "--facts", home=tmp_path
    )
    assert first.returncode in (Exit.OK, Exit.CONFIG)
    assert "HOW IT WAS FOUND" in first.stdout
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    again = propolis("doctor", "--recording", tmp_path / "here.json", "--json", home=tmp_path)
    told = json.loads(again.stdout)
    assert told["summary"] == []  # a recording shows no sandbox, and proves nothing
    assert told["proven"] == []
    (tmp_path / "no.json").write_text("{}")
    for words in (
        ("--recording", tmp_path / "no.json"),
        ("--recording", tmp_path / "none"),
        ("--page", tmp_path / "none" / "p.html"),
    ):
        done = propolis("doctor", *words, home=tmp_path)
        assert (done.returncode, done.stderr.partition(":")[0]) == (Exit.USAGE, "error data")


def test_the_demos_data_and_model_are_made_by_the_committed_script(tmp_path):
    script = ROOT / "examples/make_breast_cancer.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, capture_output=True)
    shipped = ROOT / "src/propolis/cli/data"
    assert (tmp_path / "breast_cancer.csv").read_bytes() == (shipped / "breast_cancer.csv").read_bytes()
    import numpy as np
    import onnxruntime as ort

    from propolis.cli.demo import records

    answers = [
        ort.InferenceSession(str(folder / "breast_cancer.onnx")).run(["probabilities"], {"X": records()})[0]
        for folder in (tmp_path, shipped)
    ]
    assert np.allclose(*answers, atol=1e-2)


def test_a_node_whose_orchestrator_is_away_says_so_once_and_goes_on_trying(tmp_path):
    fleet = LocalFleet(tmp_path, [])
    Fleet.join(fleet.start_orchestrator(invite_owner=True)["owner_invitation"], tmp_path)
    with Fleet(tmp_path) as owner:
        invitation = owner.invite("node")
    fleet.kill("orchestrator")
    command = [sys.executable, "-m", "propolis", "--home", str(tmp_path / "lent"), "node", "join", "-", "--slots", "1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            process.stdin.write(invitation + "\n")
            process.stdin.close()
            said = [process.stderr.readline()]
            while "→" not in said[-1]:
                said.append(process.stderr.readline())
                assert said[-1], said
            assert any(
                re.search(r"the orchestrator at 127\.0\.0\.1:\d+.* is not reached yet: .*nobody answered", line)
                for line in said
            )
            assert "loopback" in said[-1], "an invitation that cannot work from elsewhere is told from one that can"
            time.sleep(5)  # it tries once more meanwhile, and is refused for the same reason
            fleet.start_orchestrator()
            assert "inside the fleet" in process.stdout.readline()
        finally:
            process.terminate()
            rest = process.stderr.read()
            fleet.stop()
    said = "".join(said) + rest
    assert said.count("is not reached yet") == 1
    assert said.count("WARNING not reached, trying again") == 1


def test_an_owner_is_told_why_its_orchestrator_is_not_reached(tmp_path):
    fleet = LocalFleet(tmp_path, [])
    fleet.start()
    fleet.stop()
    done = propolis("nodes", home=tmp_path)
    assert done.returncode == Exit.UNREACHABLE
    assert "does not run" in done.stderr
    assert "propolis up -d" in done.stderr
    assert "warning" not in done.stderr, "a local fleet that ended is not dialled"
    (tmp_path / "orchestrator").rename(tmp_path / "elsewhere")
    done = propolis("nodes", home=tmp_path)
    assert done.returncode == Exit.UNREACHABLE
    assert re.search(r"nobody answered at 127\.0\.0\.1:\d+", done.stderr)
    assert done.stderr.count("warning: not reached, trying again") == 1


def test_a_fleet_that_moves_to_another_address_is_found_by_its_local_members(tmp_path):
    """Started on loopback, then for other computers, with any port: both wires are there, and stay where they are."""
    fleet = LocalFleet(tmp_path, [NodeLimits(name="n0")])
    try:
        fleet.start()
        fleet.stop()
        seen = []
        for _ in range(2):
            fleet.listen = ("127.0.0.2:0",)
            fleet.start()
            told = json.loads((tmp_path / "owner" / "fleet.json").read_text())["addresses"]
            seen.append([address for address in told if "127.0.0.2" in address])
            assert [row["state"] for row in json.loads(propolis("nodes", "--json", home=tmp_path).stdout)] == ["up"]
            fleet.stop()
        assert seen[0] == seen[1], "any port is the same port at the next start"
        assert [address.startswith("ws://") for address in seen[0]] == [False, True], "for both wires"
    finally:
        fleet.stop()


FOREIGN = (
    "import os, sys\n"
    "for name in ('fcntl', 'resource', 'propolis.adapters.executor.confine.kernel'): sys.modules[name] = None\n"
    "import click, rich.console, numpy, onnxruntime, asyncio, subprocess, multiprocessing\n"
    "os.execve = None\n"
    "sys.platform = 'win32'\n"
)


@pytest.mark.parametrize(
    "words",
    [
        "propolis.node --home {home} --join x",
        "propolis.cli.main --home {home} node join x",
        "propolis.cli.main --home {home} node start",
        "propolis.cli.main --home {home} up -n 1",
    ],
)
def test_lending_where_linux_is_not_is_refused_with_the_way_out(tmp_path, words):
    module, *arguments = words.format(home=tmp_path).split()
    script = (
        FOREIGN
        + f"import runpy; sys.argv = ['propolis', *{arguments!r}]; runpy.run_module({module!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (Exit.FAILED, Exit.CONFIG), done.stderr
    assert "Traceback" not in done.stderr
    assert "run Linux, and this one runs win32" in done.stderr
    assert "inside Linux" in done.stderr


def test_an_orchestrator_starts_where_pipes_cannot_be_selected(tmp_path, monkeypatch):
    """As on Windows: select takes sockets only there."""

    def sockets_only(*_):
        raise OSError("not a socket")

    monkeypatch.setattr("select.select", sockets_only)
    with LocalFleet(tmp_path, []) as fleet:
        assert fleet.orchestrator.poll() is None


def test_the_command_line_loads_where_linux_is_not(tmp_path):
    """An owner may sit at another system: nothing Linux-only is imported before it is needed."""
    script = (
        "import sys\n"
        "for name in ('fcntl', 'resource', 'propolis.adapters.executor.confine.kernel'): sys.modules[name] = None\n"
        "import propolis.cli.main, propolis.sdk\n"
        "sys.platform = 'darwin'\n"
        "from propolis.cli import doctor\n"
        "print([row['found'] for row in doctor.rows() if row['what'] == 'isolation'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['none']", done.stderr


def test_every_error_code_is_documented():
    from propolis.terms import errors

    def leaves(kind):
        return {kind.code} | {
            code for sub in kind.__subclasses__() if sub.__module__ == errors.__name__ for code in leaves(sub)
        }

    text = (ROOT / "docs/reference/errors.md").read_text()
    documented = set(re.findall(r"^\| `([a-z.-]+)` \|", text, re.MULTILINE))
    assert documented == leaves(errors.PropolisError) - {"propolis"}


def test_tasks_that_raise_are_told_and_coded(home, tmp_path):
    (tmp_path / "job.py").write_text("def half(x):\n    return 10 / x\n")
    (tmp_path / "in.json").write_text("[1, 0, 5]")
    done = propolis(
        "run", "job.py:half", "in.json", "--privacy", "trusted-lenders", "-o", "out.json", home=home, cwd=tmp_path
    )
    assert done.returncode == Exit.FAILED
    assert "1 of 3 tasks raised" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text()) == [10.0, None, 2.0]


@pytest.mark.parametrize(
    ("output", "word"),
    [("nowhere/out.json", "no folder nowhere"), ("out.npz", "written as .json"), (".", "is a folder; name a file")],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(home, tmp_path, output, word):
    (tmp_path / "job.py").write_text("def same(x):\n    return x\n")
    (tmp_path / "in.json").write_text("[1]")
    before = len(json.loads(propolis("jobs", "--json", home=home).stdout))
    done = propolis("run", "job.py:same", "in.json", "-o", output, home=home, cwd=tmp_path)
    assert done.returncode == Exit.USAGE
    assert word in done.stderr
    assert len(json.loads(propolis("jobs", "--json", home=home).stdout)) == before


def test_a_lent_computer_joins_with_one_command_and_leaves_with_it(home, tmp_path):
    invitation = json.loads(propolis("invite", "--json", home=home).stdout)["invitation"]
    command = [
        sys.executable,
        "-m",
        "propolis",
        "--home",
        str(tmp_path),
        "node",
        "join",
        "-",
        "--name",
        "lent",
        "--slots",
        "1",
        "--region",
        "eu-fr",
        "--cost",
        "0",
        "--i-accept-functions-of-strangers-without-namespaces",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(invitation + "\n")
        process.stdin.close()
        assert "inside the fleet" in process.stdout.readline()
        rows = json.loads(propolis("nodes", "--json", home=home).stdout)
        assert [row["state"] for row in rows if row["report"]["name"] == "lent"] == ["up"]
        (report,) = [row["report"] for row in rows if row["report"]["name"] == "lent"]
        assert report["offer"] == {"region": "eu-fr", "cost": 0.0}
        assert report["functions_from"] == "flat"
        assert {row["report"]["functions_from"] for row in rows if row["report"]["name"] != "lent"} == {"namespaces"}
        assert invitation not in Path(f"/proc/{process.pid}/cmdline").read_text()
        process.terminate()
        assert process.wait(20) == 0
    again = propolis("node", "join", invitation, home=tmp_path / "thief")
    assert again.returncode == Exit.REFUSED
    assert "turned away" in again.stderr or "invitation" in again.stderr
