"""onnxruntime tells its makers nothing: every process of ours that imports it says so before, whatever its user's environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from propolis.adapters.executor.bare import BareExecutor
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.testing.executor import Owner

WORD = "ORT_DISABLE_TELEMETRY"
SOURCE = Path(__file__).parents[2] / "src/propolis"
ASK = f"import os\ndef main(x):\n    return os.environ.get('{WORD}')\n"


def test_what_imports_it_is_what_is_tested_here():
    """The guests below, and what an owner imports: a further importer needs a test of its own in this file."""
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "import onnxruntime" in path.read_text() or "from onnxruntime" in path.read_text()
    }
    assert found == {"cli/demo.py", "guest/threads.py", "guest/work.py", "guest/zygote.py", "sdk/models.py"}


@pytest.mark.parametrize("module", ["propolis.sdk", "propolis.cli.main", "propolis.cli.demo", "propolis.node.__main__"])
def test_an_owners_and_a_nodes_process_is_quiet(module):
    bare = {name: value for name, value in os.environ.items() if name != WORD}
    code = f"import os, sys, {module}; print(os.environ['{WORD}'], 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


@pytest.mark.parametrize("bare", [False, True], ids=["sandbox", "bare"])
async def test_a_guest_and_what_forks_it_is_quiet(bare):
    executor = BareExecutor(i_accept_that_jobs_run_unconfined=True) if bare else SandboxExecutor(warm=False)
    (outcome,) = await Owner(ASK).run(executor, [0])
    assert values.decode(outcome.value) == "1"
    if not bare:
        environment = Path(f"/proc/{executor._server.pid}/environ").read_bytes().split(b"\0")
        assert f"{WORD}=1".encode() in environment
    await executor.close()
