"""What a kernel lacks is found by doing, lowers what is offered or refuses it, and the report says why. Here it is made to lack."""

import json
import subprocess

import pytest

SCRIPT = """
import asyncio, json, sys
from propolis.adapters.executor import sandbox
from propolis.terms.errors import Unsupported
from propolis.testing.executor import Owner

sandbox.SERVER = "from propolis.adapters.executor.confine import kernel, landlock; " + sys.argv[1] + sandbox.SERVER

async def main():
    executor = sandbox.SandboxExecutor(warm=False)
    try:
        reached = await executor.probe()
        await Owner().run(executor, [1])
        print(json.dumps([reached.rung.name, reached.landlock_abi, reached.notes]))
    except Unsupported as error:
        print(json.dumps(["none", 0, [str(error)]]))
    finally:
        await executor.close()

asyncio.run(main())
"""
ABI = "landlock.abi = lambda: {}; "
NO_NAMESPACES = "kernel.unshare = lambda flags: (_ for _ in ()).throw(PermissionError(1, 'unshare: not permitted')); "


@pytest.fixture
def probed(python):
    """Return rung, Landlock ABI and notes on a machine made to lack something."""

    def probe(lacking):
        done = subprocess.run([python, "-c", SCRIPT, lacking], capture_output=True, text=True, timeout=90, cwd="/")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return probe


def test_nothing_lacking_needs_no_note(probed):
    rung, _, notes = probed("")
    if rung != "NAMESPACES":
        pytest.skip(f"namespaces are not reached here: {notes}")
    assert notes == []


def test_without_namespaces_the_flat_rung_is_offered_and_the_report_says_why(probed):
    rung, abi, (note,) = probed(NO_NAMESPACES)
    assert rung == "FLAT"
    assert abi >= 3
    assert note.startswith("no namespaces: ")
    assert "unshare" in note


def test_an_old_landlock_is_enough_with_namespaces_and_is_told(probed):
    rung, abi, notes = probed(ABI.format(2))
    if rung != "NAMESPACES":
        pytest.skip(f"namespaces are not reached here: {notes}")
    assert abi == 2


@pytest.mark.parametrize("abi", [1, 2])
def test_without_namespaces_a_landlock_that_cannot_forbid_truncate_is_refused(probed, abi):
    rung, _, (why,) = probed(ABI.format(abi) + NO_NAMESPACES)
    assert rung == "none"
    assert f"Landlock ABI {abi} cannot forbid truncate" in why
    assert "unshare" in why


def test_no_landlock_no_guest(probed):
    rung, _, (why,) = probed(ABI.format(0))
    assert rung == "none"
    assert "no Landlock" in why


def test_the_report_names_no_path_of_the_lenders_machine(probed):
    lacking = NO_NAMESPACES.replace("unshare: not permitted", "mount /home/lender/.venv: refused")
    rung, _, (note,) = probed(lacking)
    assert rung == "FLAT"
    assert "refused" in note
    assert "/home" not in note
