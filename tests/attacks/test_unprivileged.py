"""The sandbox of an ordinary user's agent and of root's: both rungs, by an interpreter that every user can reach."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_escape import ATTEMPTS, EXPECTED, NOT_IN_FLAT, REFUSALS, source_of

NOBODY = 65534

SCRIPT = """
import asyncio, json, sys
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.terms.capability import Rung
from propolis.testing.executor import Owner

SOURCE = '''
import os, socket
def main(d):
    found = {}
    for name, attempt in {
        "secret": lambda: open(d).read(),
        "passwd": lambda: open("/etc/shadow").read(),
        "socket": lambda: socket.socket(),
        "fork": lambda: os.fork(),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "kill": lambda: os.kill(os.getppid(), 0),
        "write": lambda: open("/tmp/propolis-escaped", "w"),
    }.items():
        try:
            attempt()
            found[name] = "reached"
        except OSError:
            found[name] = "refused"
    return found
'''

async def main():
    executor = SandboxExecutor(warm=False)
    executor._reached = await executor._canary(Rung[sys.argv[1]])
    (outcome,) = await Owner(SOURCE).run(executor, [sys.argv[2]])
    print(json.dumps([executor._reached.rung.name, executor._reached.own_uid, values.decode(outcome.value)]))
    await executor.close()

asyncio.run(main())
"""


AGENTS = ["user", pytest.param("root", marks=pytest.mark.skipif(os.geteuid() != 0, reason="we are not root"))]
"""Who the agent is: its guests are that user, or, under root, a uid of the slot's own."""


def user_of(agent):
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if agent == "user" and os.geteuid() == 0 else {}


ALL = """
import asyncio, json, sys
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.terms.capability import Rung
from propolis.testing.executor import Owner

async def main():
    sources, decoys = json.load(sys.stdin)
    executor = SandboxExecutor(warm=False)
    executor._reached = await executor._canary(Rung.FLAT)
    for name, source in sources.items():
        (outcome,) = await Owner(source, memory_mb=256, task_seconds=5).run(executor, [decoys])
        print(json.dumps([name, values.decode(outcome.value) if outcome.ok else outcome.error]))
    await executor.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("agent", AGENTS)
def test_every_escape_is_refused_to_flat_guests(agent, python, open_path):
    """The weakest rung there is: the agent's own user, its own files, no namespaces; and the same under root."""
    secret = open_path / "secret"
    secret.write_text("TOP SECRET")
    user = user_of(agent)
    if user:
        os.chown(secret, NOBODY, NOBODY)
    os.chmod(secret, 0o666)  # only the sandbox stands in the way
    before = secret.stat()
    victim = subprocess.Popen(["/bin/sleep", "100"], **user)
    decoys = {"secret": str(secret), "home": str(open_path), "pid": victim.pid, "tcp": 1, "udp": 1, "unix": "/x"}
    decoys |= {"abstract": "x", "confined": True}
    sources = {name: source_of(name) for name in ATTEMPTS if name not in NOT_IN_FLAT}
    done = subprocess.run(
        [python, "-c", ALL], input=json.dumps([sources, decoys]), capture_output=True, text=True, timeout=120, cwd="/", **user
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert answers.keys() == sources.keys()
    wrong = {
        name: answer
        for name, answer in answers.items()
        if answer.removeprefix("refused: ") not in EXPECTED.get(name, REFUSALS)
    }
    assert not wrong
    after = secret.stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_size) == (after.st_mode, after.st_mtime_ns, after.st_size)
    assert victim.poll() is None
    victim.kill()
    victim.wait()


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("rung", ["NAMESPACES", "FLAT"])
def test_the_sandbox_of_any_agent(rung, agent, python, open_path):
    secret = open_path / "secret"
    secret.write_text("TOP SECRET")
    user = user_of(agent)
    done = subprocess.run(
        [python, "-c", SCRIPT, rung, str(secret)], capture_output=True, text=True, timeout=60, cwd="/", **user
    )
    if rung == "NAMESPACES" and done.returncode and "unshare" in done.stderr:
        pytest.skip("this kernel forbids unprivileged user namespaces")
    assert done.returncode == 0, done.stderr
    reached, own_uid, found = json.loads(done.stdout)
    assert reached == rung
    assert own_uid is (agent == "root")
    own_tmp = rung == "NAMESPACES"  # there /tmp is the guest's own
    assert {name for name, word in found.items() if word == "reached"} <= ({"write", "kill"} if own_tmp else set())
    assert not Path("/tmp/propolis-escaped").exists()


HERE = Path(__file__).parent


@pytest.mark.timeout(300)
def test_what_this_interpreter_hides_from_flat_guests_runs_under_one_that_hides_nothing(python):
    """Under root, an interpreter below /root is out of flat guests' sight, and their tests in this run are skipped."""
    if python == sys.executable:
        pytest.skip("this interpreter can be reached by all: the tests of the flat rung ran in it themselves")
    files = [str(HERE / name) for name in ("test_hostile_job.py", "test_scratch.py")]
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", "FLAT or without_namespaces or blamed", *files],
        capture_output=True, text=True, timeout=280, cwd=HERE.parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not reached here" not in done.stdout
