"""A job that behaves badly harms itself: a typed end, the executor goes on, nothing is left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from propolis.adapters.executor.bare import BareExecutor
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.adapters.executor.slots import FIRST_UID, RANGES, SLOTS, SlotRange
from propolis.crypto import granting
from propolis.messages import guest as frames
from propolis.messages import values
from propolis.messages.zygote import Profile
from propolis.node.hosting import Hosting
from propolis.protocols.jobs import events as ev
from propolis.terms.capability import Rung
from propolis.terms.errors import Crashed, ExecutorError, Overran, SealBroken, Unsupported
from propolis.terms.identity import GuestId
from propolis.terms.job import Kind
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
    owner = Owner(kind=Kind.INFERENCE, model=b"not onnx")
    guest, order = await owner.ready(executor)
    await guest.run([owner.sealed(0, [1.0])])
    (output,) = await guest.outputs()
    assert "did not load" in owner.opened(order, output).error
    await guest.kill()


def guests_of_our_slots(first=FIRST_UID, count=RANGES * SLOTS):
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
        if first <= owner < first + count or first <= uid < first + count:
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
    print(executor._uids.first_uid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="slot uids exist only under a privileged agent")
def test_killing_the_agent_leaves_nothing():
    agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True)
    first = int(agent.stdout.readline())
    assert guests_of_our_slots(first, SLOTS), "guests run under uids of their own, never root"
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    deadline = time.monotonic() + 3
    while guests_of_our_slots(first, SLOTS) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not guests_of_our_slots(first, SLOTS)


@pytest.mark.skipif(os.geteuid() != 0, reason="slot uids exist only under a privileged agent")
def test_two_agents_of_one_machine_share_no_uid(tmp_path):
    one, other = SlotRange(tmp_path), SlotRange(tmp_path)
    assert abs(one.first_uid - other.first_uid) >= SLOTS
    with pytest.raises(Unsupported):
        one.uid(SLOTS)
    taken = one.first_uid
    one.release()
    assert SlotRange(tmp_path).first_uid == taken


def tree(root):
    """Every process below one, as the host sees them."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(pid)] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {root} & set(parents)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def fields(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def alive(pids):
    """Which still run; a zombie is over but not yet reaped, so it counts."""
    return {pid for pid in pids if os.path.exists(f"/proc/{pid}")}


RUNGS = [Rung.NAMESPACES, Rung.FLAT]


@pytest.fixture(params=RUNGS, ids=lambda rung: rung.name)
async def on_rung(request):
    executor = SandboxExecutor(warm=False)
    try:
        executor._reached = await executor._canary(request.param)
    except ExecutorError as error:
        await executor.close()
        pytest.skip(f"not reached here: {error}")
    yield executor
    await executor.close()


THREADS = """
import threading
threading.stack_size(65536)  # so that it is not memory that ends it
def main(most):
    over, started = threading.Event(), []
    try:
        while len(started) < most:
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    over.set()
    for thread in started: thread.join()
    return len(started)
"""
MOST = 400


async def test_threads_end_at_the_bound_and_the_guest_goes_on(on_rung):
    """RLIMIT_NPROC: refused at the bound, in a guest that lives on; its own uid's tasks alone, but for an ordinary user's flat."""
    executor, bound = on_rung, Profile(rung=Rung.FLAT).tasks
    loose = executor._reached.rung is Rung.FLAT and not executor._reached.own_uid
    started = [values.decode(found.value) for found in await Owner(THREADS).run(executor, [MOST, 5])]
    assert 0 < started[0] < (MOST if loose else bound)
    assert started[1] == 5
    outcomes = await Owner(DOUBLE).run(executor, [21])
    assert values.decode(outcomes[0].value) == 42, "its executor goes on"


async def test_the_same_threads_are_started_where_nothing_confines():
    executor = BareExecutor(i_accept_that_jobs_run_unconfined=True)
    (outcome,) = await Owner(THREADS).run(executor, [MOST])
    await executor.close()
    assert values.decode(outcome.value) == MOST


async def test_guests_never_run_as_root(on_rung):
    owner = Owner(DOUBLE)
    guest, _ = await owner.ready(on_rung)
    try:
        processes = tree(guest.pid)
        assert len(processes) == (2 if guest.isolation.rung is Rung.NAMESPACES else 1)
        for pid in processes:
            status = fields(pid)
            assert not {"0"} & {*status["Uid"], *status["Gid"], *status["Groups"]}, status
        inner = fields(max(processes))
        assert {inner[name][0] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")} == {"0" * 16}, inner
        assert inner["NoNewPrivs"] == ["1"]
        assert inner["Seccomp"] == ["2"]
    finally:
        await guest.kill()


async def test_killing_a_guest_takes_its_tree(on_rung):
    source = "import threading\ndef main(x):\n    threading.Thread(target=main, args=(0,)).start() if x else None\n    while True: pass\n"
    owner = Owner(source)
    guest, _ = await owner.ready(on_rung)
    processes = tree(guest.pid)
    await guest.run([owner.sealed(0, 1)])
    await asyncio.sleep(0.1)
    assert guest.pid in processes
    await guest.kill()
    assert not alive(processes), "nothing of it is left at the moment kill returns"
    if on_rung._uids is not None:
        assert not guests_of_our_slots(on_rung._uids.first_uid, SLOTS)


BROKEN_NONSENSE = (3).to_bytes(4, "big") + bytes([20]) + b"\xc1\xc1"
FLOOD = frames.batch_frame(frames.Tag.RESULTS, frames.Batch(indices=(), attempts=(), sizes=()), [])
STRANGE = frames.batch_frame(
    frames.Tag.RESULTS,
    frames.Batch(indices=(99,), attempts=(99999,), sizes=(0,), milliseconds=(0.0,)),
    [b""],
)


@pytest.mark.parametrize(
    "words", [BROKEN_NONSENSE, FLOOD, STRANGE, FLOOD * 4000], ids=["leak", "empty", "other", "flood"]
)
async def test_hostile_frames_end_the_guest_at_once_and_leave_nothing(executor, words):
    owner = Owner(f"import os\nF={words!r}\ndef main(x):\n    while True: os.write(11, F)\n", task_seconds=30)
    guest, _ = await owner.ready(executor)
    processes = tree(guest.pid)
    await guest.run([owner.sealed(0, None)])
    began = time.monotonic()
    with pytest.raises(Crashed):
        await guest.outputs()
    assert time.monotonic() - began < 20, "long before its time limit"
    assert not alive(processes)


async def test_a_guest_that_spoke_nonsense_frees_its_slot_only_when_it_is_gone(executor):
    """The agent's whole way: hosting hears of it, ends it, and only then says so."""
    owner = Owner(f"import os\ndef main(x):\n    os.write(11, {BROKEN_NONSENSE!r})\n    while True: pass\n")
    guest, order = await owner.ready(executor)
    processes, ended = tree(guest.pid), asyncio.Event()

    def post(event):
        assert isinstance(event, ev.GuestEnded)
        assert event.code == Crashed.code
        assert not alive(processes)
        assert not hosting._guests
        ended.set()

    hosting = Hosting(executor, None, None, None, post, None, None)
    hosting._guests[order.guest] = (guest, 0)
    await guest.run([owner.sealed(0, None)])
    await asyncio.wait_for(hosting._pump(order.guest, guest), 10)
    assert ended.is_set()


async def test_a_defect_of_ours_ends_the_guest_too(executor):
    guest, order = await Owner(DOUBLE).ready(executor)
    processes, said = tree(guest.pid), []
    hosting = Hosting(executor, None, None, None, said.append, None, None)
    hosting._guests[order.guest] = (guest, 0)
    guest._pipes.next = None
    await hosting._pump(order.guest, guest)
    assert [event.code for event in said] == [Crashed.code]
    assert not alive(processes)


async def test_a_program_of_another_kind_never_runs(executor):
    """A job declared as inference carries Python: refused before a line of it runs, whatever the node lends itself for."""
    owner = Owner("import os\nos.write(2, b'it ran')\ndef main(x):\n    return x\n", kind=Kind.FUNCTION)
    order = msgspec.structs.replace(owner.order(), kind=Kind.INFERENCE)
    guest = await executor.start(order)
    await guest.grant(granting.seal_grant(owner.secret, owner.job, GuestId(order.guest), guest.key))
    with pytest.raises(SealBroken, match="inference"):
        await guest.load(owner.sealed_program())
    assert "it ran" not in await guest.stderr()
