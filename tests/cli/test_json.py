"""`--json` on every verb: one document on stdout and nothing else, whatever the verb does besides."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propolis.cli.main import cli
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

PRIVACY = ("--privacy", "trusted-lenders")


def propolis(*words, home, cwd):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=cwd, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with LocalFleet(tmp_path_factory.mktemp("fleet"), [NodeLimits(name="n0")]) as fleet:
        yield fleet.home


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "job.py").write_text("def inverse(x):\n    return 1 / x\n")
    (folder / "in.json").write_text("[1, 0, 2]")
    return folder


def test_the_verbs_about_jobs(home, folder):
    code, ran, _ = propolis("run", "job.py:inverse", "in.json", *PRIVACY, "-o", "o.json", home=home, cwd=folder)
    assert code == Exit.FAILED
    assert {key: ran[key] for key in ("state", "tasks", "finished", "raised", "output")} == {
        "state": "done", "tasks": 3, "finished": 3, "raised": 1, "output": "o.json"
    }  # fmt: skip
    name = ran["job"][:8]
    assert [row["job"] for row in propolis("jobs", home=home, cwd=folder)[1]] == [ran["job"]]
    explained = propolis("explain", name, home=home, cwd=folder)[1]
    assert explained["job"]["job"] == ran["job"]
    (node,) = propolis("nodes", home=home, cwd=folder)[1]
    for one in explained["granted"]:
        assert one["node"] == node["node"]
        assert one["invitation"] == node["credential"]["invitation"]
        assert one["isolation"]["rung"] == node["report"]["isolation"]["rung"]
        assert (len(one["receipt"]), len(one["invited_by"]), len(one["guest"])) == (64, 64, 32)
        assert 0 <= time.time() - one["at"] < 3600
    assert explained["granted"]
    (line,) = propolis("logs", name, home=home, cwd=folder)[1]
    assert (line["task"], "ZeroDivisionError" in line["text"]) == (1, True)
    assert propolis("fetch", name, "-o", "p.json", home=home, cwd=folder)[1]["output"] == "p.json"
    assert propolis("stop", name, home=home, cwd=folder)[1]["job"] == ran["job"]


def test_the_verbs_about_fleets(home, folder, tmp_path):
    assert [row["state"] for row in propolis("nodes", home=home, cwd=folder)[1]] == ["up"]
    invited = propolis("invite", "owner", home=home, cwd=folder)[1]
    assert propolis("join", invited["invitation"], home=tmp_path / "second", cwd=folder)[1]["joined"] is True
    assert propolis("up", "-d", "-n", "1", home=tmp_path / "third", cwd=folder)[1]["nodes"][0]["state"] == "up"
    assert propolis("down", home=tmp_path / "third", cwd=folder)[1]["ended"] == 2


@pytest.mark.parametrize("verb", [["privacy"], ["doctor"], ["sim", "--nodes", "5", "--tasks", "20"]])
def test_the_verbs_that_need_no_fleet(verb, tmp_path):
    code, found, _ = propolis(*verb, home=tmp_path, cwd=tmp_path)
    assert code == Exit.OK
    assert found


def test_demo(tmp_path):
    code, found, _ = propolis("demo", "--rounds", "100", home=tmp_path, cwd=tmp_path)
    assert (code, found["verified"], found["killed"]) == (Exit.OK, True, 1)


def test_a_node_says_one_line(home, tmp_path):
    with Fleet(home) as fleet:
        text = fleet.invite("node")
    for verb in (["join", text], ["start"]):
        command = [sys.executable, "-m", "propolis", "--home", str(tmp_path), "node", *verb, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert json.loads(process.stdout.readline())["pid"] == process.pid
            process.terminate()
            assert process.communicate(timeout=20) == ("", "")


def test_verify(tmp_path):
    (tmp_path / "e").write_bytes(b"no evidence at all")
    code, found, _ = propolis("verify", "e", "--type", "snp-report", home=tmp_path, cwd=tmp_path)
    assert (code, found["verdict"], bool(found["reject_code"])) == (Exit.FAILED, "refused", True)


def test_attest(tmp_path):
    command = [sys.executable, "-m", "propolis", "attest", "--i-rehearse-with-an-emulated-tpm", "nobody", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode != Exit.OK
    assert (done.stdout, "tpm.missing" in done.stderr) == ("", True)


def test_vault(tmp_path):
    (tmp_path / "secret").write_text("correct horse battery\n")
    words = ("--tpm", "none", "--secret-file", "secret")
    code, made, said = propolis("vault", "create", *words, home=tmp_path / "h", cwd=tmp_path)
    assert (code, made["kept_by"], len(made["recovery_code"]), made["recovery_code"] in said) == (
        0,
        "passphrase",
        44,
        False,
    )
    assert propolis("vault", "put", "a", "secret", *words, home=tmp_path / "h", cwd=tmp_path)[1]["version"] == 1
    (row,) = propolis("vault", "list", *words, home=tmp_path / "h", cwd=tmp_path)[1]
    assert (row["name"], row["bytes"]) == ("a", 22)


@pytest.mark.skipif(shutil.which("swtpm_setup") is None, reason="swtpm is not installed: apt install swtpm swtpm-tools")
@pytest.mark.timeout(180)
def test_demo_proof(tmp_path):
    code, found, _ = propolis("demo-proof", home=tmp_path, cwd=tmp_path)
    assert code == Exit.OK
    assert (found["proven"], found["refused"], found["unproven"]) == (2, 1, 1)
    assert (found["tasks_on_proven"], found["tasks_elsewhere"]) == (200, 0)
    assert found["emulated"] == 2
    assert "emulated" in found["pending_reason"]


def test_no_verb_is_left_out():
    here = Path(__file__).read_text()
    assert all(
        f'"{verb}"' in here or f"def test_{verb.replace('-', '_')}" in here or verb == "node" for verb in cli.commands
    )


def test_the_operators_verbs(home, folder):
    shown = propolis("fleet", "policy", "show", home=home, cwd=folder)[1]
    assert (shown["default"], shown["number"], shown["policy"]["name"]) == (True, 0, "default")
    (folder / "policy.toml").write_text("lease_seconds = 60\n")
    assert propolis("fleet", "policy", "check", "policy.toml", home=home, cwd=folder)[1]["valid"] is True
    signed = propolis("fleet", "policy", "set", "policy.toml", home=home, cwd=folder)[1]
    assert (signed["number"], signed["text"]) == (1, "lease_seconds = 60\n")


def test_a_failure_says_its_code_on_stderr(tmp_path):
    command = [sys.executable, "-m", "propolis", "--home", str(tmp_path), "jobs", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (Exit.CONFIG, "")
    assert done.stderr.startswith("error config: ")
