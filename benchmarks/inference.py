"""Throughput of a sandboxed, encrypted inference job against the same model in a bare process, interleaved.

Both use one compute thread. Ours is measured between the first and the last fifth of its tasks ("once running"): guests are
loaded and warm, as the bare process is. Ratio per round; the median is reported.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.report import row, write
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

ROUNDS = 7
TASKS = 240
ROWS = 64
SIDE = 1024
LAYERS = 8

BARE = """
import os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import sys, time, numpy as np, onnxruntime as ort
o = ort.SessionOptions(); o.intra_op_num_threads = 1; o.inter_op_num_threads = 1
s = ort.InferenceSession(sys.argv[1], o, providers=["CPUExecutionProvider"])
x = np.load(sys.argv[2]); rows = int(sys.argv[3]); cut = [x[i:i+rows] for i in range(0, len(x), rows)]
s.run(None, {"x": cut[0]})
print("ready", flush=True)
for line in sys.stdin:
    t = time.perf_counter()
    for part in cut: s.run(None, {"x": part})
    print(len(cut) / (time.perf_counter() - t), flush=True)
"""


def make_model() -> bytes:
    """Return a perceptron of some 34 MB: about 12 ms per task on one core."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for n in range(LAYERS):
        matrix = rng.normal(0, 0.03, (SIDE, SIDE)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{n}"))
        nodes += [
            helper.make_node("MatMul", [last, f"w{n}"], [f"m{n}"]),
            helper.make_node("Relu", [f"m{n}"], [f"r{n}"]),
        ]
        last = f"r{n}"
    nodes.append(helper.make_node("ReduceSum", [last], ["y"], keepdims=1))
    shape = helper.make_tensor_value_info
    nodes[-1] = helper.make_node("ReduceMean", [last], ["y"], axes=[1], keepdims=1)
    graph = helper.make_graph(
        nodes, "mlp", [shape("x", TensorProto.FLOAT, [None, SIDE])], [shape("y", TensorProto.FLOAT, [None, 1])], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def ours(fleet, model, data) -> float:
    """Return tasks per second once running."""
    job = fleet.submit_inference(model, data, rows_per_task=ROWS, privacy="trusted-lenders", memory_mb=1024)
    times = {}

    def moved(job):
        times.setdefault(job.finished, time.perf_counter())

    job.wait(timeout=120, on_progress=moved)
    counts = sorted(count for count in times if count >= TASKS // 5)
    first, last = counts[0], counts[-1]
    return (last - first) / (times[last] - times[first])


def main():
    model = make_model()
    data = np.random.default_rng(1).normal(size=(TASKS * ROWS, SIDE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "m.onnx").write_bytes(model)
        np.save(base / "x.npy", data)
        words = [sys.executable, "-c", BARE, str(base / "m.onnx"), str(base / "x.npy"), str(ROWS)]
        with (
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare,
            LocalFleet(base / "fleet", [NodeLimits(name="node-1", slots=1, memory_mb=2048)]) as local,
            Fleet(local.home) as fleet,
        ):
            assert bare.stdout.readline() == "ready\n"
            ratios, rates = [], []
            for number in range(ROUNDS + 1):
                bare.stdin.write("go\n")
                bare.stdin.flush()
                theirs = float(bare.stdout.readline())
                mine = ours(fleet, model, data)
                if number:  # the first round warms both
                    ratios.append(mine / theirs)
                    rates.append((mine, theirs))
            bare.stdin.close()
    print("ratios", [round(ratio, 3) for ratio in ratios])
    middle = statistics.median(ratios)
    write("inference", [
        row("inference_ratio_to_bare", round(middle, 4), "ratio", ">= 0.95", "bare process", 1.0),
        row("tasks_per_s", round(statistics.median(rate[0] for rate in rates), 1), "tasks/s", "", "bare process",
            round(statistics.median(rate[1] for rate in rates), 1)),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
