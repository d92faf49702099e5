"""The sandbox without root: both rungs, reached by an ordinary user, and what the weaker one still refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import propolis

NOBODY = 65534
SYSTEM = Path("/usr/bin/python3")

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


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter an ordinary user can reach, with this package on its path."""
    if os.geteuid() != 0:
        return sys.executable
    source = Path(propolis.__file__).parents[1]
    packages = Path(__import__("msgspec").__file__).parents[1]
    word = "import sys; print(sys.version_info[:2])"
    if not SYSTEM.exists() or subprocess.run(
        [SYSTEM, "-c", word], capture_output=True, text=True
    ).stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system has no Python of this version that an ordinary user could run")
    for folder in (source, packages):
        if any(not parent.stat().st_mode & 0o001 for parent in [folder, *folder.parents]):
            pytest.skip(f"an ordinary user cannot reach {folder}")
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([SYSTEM, "-m", "venv", "--without-pip", str(home)], check=True)
    site = next(home.glob("lib/python*/site-packages"))
    (site / "propolis.pth").write_text(f"{source}\n{packages}\n")
    for folder in [home, *list(home.parents)[:2]]:
        os.chmod(folder, 0o755)
    return str(home / "bin" / "python")


@pytest.mark.parametrize("rung", ["NAMESPACES", "FLAT"])
def test_an_ordinary_users_sandbox(rung, python, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("TOP SECRET")
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(
        [python, "-c", SCRIPT, rung, str(secret)], capture_output=True, text=True, timeout=60, cwd="/", **user
    )
    if rung == "NAMESPACES" and done.returncode and "unshare" in done.stderr:
        pytest.skip("this kernel forbids unprivileged user namespaces")
    assert done.returncode == 0, done.stderr
    reached, own_uid, found = json.loads(done.stdout)
    assert reached == rung
    assert not own_uid
    own_tmp = rung == "NAMESPACES"  # there /tmp is the guest's own
    assert {name for name, word in found.items() if word == "reached"} <= ({"write", "kill"} if own_tmp else set())
    assert not Path("/tmp/propolis-escaped").exists()
