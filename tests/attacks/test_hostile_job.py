"""A job that behaves badly harms itself: a typed end, the executor goes on, nothing is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from propolis.adapters.executor.sandbox import FIRST_UID, SandboxExecutor
from propolis.messages import values
from propolis.terms.errors import Crashed, ExecutorError, Overran
from propolis.testing.executor import DOUBLE, Owner


@pytest.fixture
async def executor():
    executor = SandboxExecutor(warm=False)
    yield executor
    outcomes = await Owner(DOUBLE).run(executor, [21], slot=3)
    assert values.decode(outcomes[0].value) == 42, "the executor still works"
    await executor.close()


async def run_one(executor, source, **needs):
    owner = Owner(source, **needs)
    guest, order = await owner.ready(executor)
    try:
        await guest.run([owner.sealed(0, None)])
        (output,) = await guest.outputs()
        return owner.opened(order, output)
    finally:
        await guest.kill()


async def test_allocates_too_much(executor):
    outcome = await run_one(executor, "def main(x):\n    return len(bytearray(8 << 30))\n", memory_mb=256)
    assert not outcome.ok
    assert "MemoryError" in outcome.error


async def test_forks_a_bomb(executor):
    outcome = await run_one(executor, "import os\ndef main(x):\n    while True: os.fork()\n")
    assert "PermissionError" in outcome.error


async def test_starts_threads_without_end(executor):
    source = "import threading, time\ndef main(x):\n    while True: threading.Thread(target=time.sleep, args=(60,)).start()\n"
    outcome = await run_one(executor, source)
    assert not outcome.ok


async def test_fills_the_disk(executor):
    source = "def main(x):\n    f = open('/tmp/fill', 'wb')\n    while True: f.write(bytes(1 << 20)); f.flush()\n"
    outcome = await run_one(executor, source)
    assert "OSError" in outcome.error


async def test_prints_without_end_keeps_little(executor):
    outcome = await run_one(executor, "def main(x):\n    for _ in range(2000): print('y' * 1000)\n    return 1\n")
    assert outcome.ok
    assert outcome.printed[: 64 * 1024].count("y") > 65_000
    assert len(outcome.printed) < 64 * 1024 + 200, "and the mark of the cut"
    assert "... cut: " in outcome.printed


async def test_writes_a_flood_to_stderr(executor):
    owner = Owner("import os\ndef main(x):\n    for _ in range(300): os.write(2, b'e' * 65536)\n    return 1\n")
    guest, _ = await owner.ready(executor)
    await guest.run([owner.sealed(0, None)])
    assert len(await guest.outputs()) == 1
    assert len(await guest.stderr()) <= 64 * 1024
    await guest.kill()


async def test_returns_too_much(executor):
    with pytest.raises(Overran):
        await run_one(executor, "def main(x):\n    return bytes(9 << 20)\n")


async def test_returns_what_cannot_travel(executor):
    outcome = await run_one(executor, "def main(x):\n    return object()\n")
    assert "cannot travel" in outcome.error


async def test_exits_the_process(executor):
    with pytest.raises(Crashed):
        await run_one(executor, "import os\ndef main(x):\n    os._exit(0)\n")


async def test_raises_system_exit(executor):
    outcome = await run_one(executor, "import sys\ndef main(x):\n    sys.exit(3)\n")
    assert "SystemExit" in outcome.error


async def test_ignores_signals_and_dies_anyway(executor):
    source = "import signal\ndef main(x):\n    for n in range(1, 32):\n        try: signal.signal(n, signal.SIG_IGN)\n        except (OSError, ValueError): pass\n    while True: pass\n"
    with pytest.raises(Overran):
        await run_one(executor, source, task_seconds=0.3)


async def test_writes_nonsense_into_the_frame_pipe(executor):
    with pytest.raises(ExecutorError):
        await run_one(executor, "import os, time\ndef main(x):\n    os.write(11, b'\\xff' * 4096)\n    time.sleep(5)\n")


async def test_source_that_does_not_compile_is_told_to_its_owner_alone(executor):
    outcome = await run_one(executor, "def main(x) return\n")
    assert "did not load" in outcome.error


async def test_model_that_is_no_model_is_told_to_its_owner_alone(executor):
    from propolis.terms.job import Kind

    owner = Owner(kind=Kind.INFERENCE, model=b"not onnx")
    guest, order = await owner.ready(executor)
    await guest.run([owner.sealed(0, [1.0])])
    (output,) = await guest.outputs()
    assert "did not load" in owner.opened(order, output).error
    await guest.kill()


def guests_of_our_slots():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            uid = os.stat(f"/proc/{pid}").st_uid
            owner = int(
                next(
                    line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid")
                ).split()[1]
            )
        except (OSError, StopIteration):
            continue
        if FIRST_UID <= owner < FIRST_UID + 5000 or FIRST_UID <= uid < FIRST_UID + 5000:
            found.append(int(pid))
    return found


AGENT = """
import asyncio
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.testing.executor import Owner

async def main():
    executor = SandboxExecutor()
    owner = Owner("def main(x):\\n    while True: pass\\n")
    guest, _ = await owner.ready(executor)
    await guest.run([owner.sealed(0, None)])
    print("busy", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="slot uids exist only under a privileged agent")
def test_killing_the_agent_leaves_nothing():
    before = set(guests_of_our_slots())
    agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True)
    assert agent.stdout.readline() == "busy\n"
    assert set(guests_of_our_slots()) - before, "guests run under uids of their own, never root"
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    deadline = time.monotonic() + 3
    while set(guests_of_our_slots()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(guests_of_our_slots()) - before


async def test_guests_never_run_as_root(executor):
    outcome = await run_one(executor, "import os\ndef main(x):\n    return [os.getuid(), os.geteuid(), os.getgid()]\n")
    assert 0 not in values.decode(outcome.value)


async def test_killing_a_guest_takes_its_tree(executor):
    owner = Owner("def main(x):\n    while True: pass\n")
    guest, _ = await owner.ready(executor)
    await guest.run([owner.sealed(0, None)])
    await asyncio.sleep(0.1)
    before = guests_of_our_slots() if os.geteuid() == 0 else [guest.pid]
    assert before
    await guest.kill()
    assert not os.path.exists(f"/proc/{guest.pid}")
