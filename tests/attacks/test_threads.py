"""A guest's libraries start as many threads as its slot has cores, whatever the machine has, and whoever opens a session."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper

from propolis.adapters.executor.bare import BareExecutor
from propolis.adapters.executor.environment import CORES_PER_SLOT, THREADS
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.terms.job import Kind
from propolis.testing.executor import Owner

SOURCE = """
import os, threading
def count():
    return len(os.listdir('/proc/self/task'))
def main(model):
    import numpy as np, onnxruntime as ort
    found = {'start': count()}
    np.ones((600, 600)) @ np.ones((600, 600))
    found['numpy'] = count()
    x = {'x': np.ones((2, 4), np.float32)}
    plain = ort.InferenceSession(model, providers=['CPUExecutionProvider'])
    plain.run(None, x)
    found['session'] = count()
    options = ort.SessionOptions()
    own = ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])
    own.run(None, x)
    found['options'] = count()
    options.intra_op_num_threads = 3
    asked = ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])
    asked.run(None, x)
    return {**found, 'asked for': count(), 'environment': dict(os.environ)}
"""


def model():
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [None, 4])], [value("y", TensorProto.FLOAT, [None, 4])]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "net", *ends)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()  # fmt: skip


async def sandbox():
    return SandboxExecutor(warm=False)


async def bare():
    return BareExecutor(i_accept_that_jobs_run_unconfined=True)


@pytest.mark.parametrize("make", [sandbox, bare])
async def test_libraries_in_a_function_keep_to_the_slots_cores(make):
    executor = await make()
    (outcome,) = await Owner(SOURCE, memory_mb=1024).run(executor, [model()])
    await executor.close()
    assert outcome.ok, outcome.error
    found = values.decode(outcome.value)
    assert [found[name] for name in ("start", "numpy", "session", "options")] == [CORES_PER_SLOT] * 4
    assert found["asked for"] == CORES_PER_SLOT + 2, "a session that states a number gets it, so the counting is right"
    assert THREADS.items() <= found["environment"].items()


async def test_a_model_keeps_to_the_slots_cores():
    """Read from outside: a locked guest can open nothing to count itself."""
    executor = SandboxExecutor(warm=False)
    owner = Owner(kind=Kind.INFERENCE, model=model())
    guest, _ = await owner.ready(executor)
    await guest.run([owner.sealed(0, {"x": np.ones((2, 4), np.float32)})])
    await guest.outputs()
    inner = {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(pid) == guest.pid} or {guest.pid}
    assert [len(os.listdir(f"/proc/{pid}/task")) for pid in inner] == [CORES_PER_SLOT]
    await guest.kill()
    await executor.close()


def _parent(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return -1
