"""Throughput of a sandboxed, encrypted inference job against the same model in a bare process, interleaved.

Both use one compute thread. Ours is measured between the first and the last fifth of its tasks ("once running"): guests are
loaded and warm, as the bare process is. Ratio per round; the median is reported. Two models: a convolutional net (some 3 MB of
input per second of computing) and, as the hard end, a perceptron (some 20 MB/s), whose bytes cost the other core.
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
SIDE, LAYERS = 1024, 8  # the perceptron
PIXELS, CHANNELS = 32, 64  # the convolutional net

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


def finished(nodes, weights, inputs, outputs) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    ends = [value("x", TensorProto.FLOAT, [None, *inputs])], [value("y", TensorProto.FLOAT, [None, *outputs])]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def convolutional() -> bytes:
    """Return a small convolutional net over 32x32 images: much computing per byte, as vision models are."""
    from onnx import helper

    rng = np.random.default_rng(0)
    nodes, weights, last, before = [], {}, "x", 1
    for n, after in enumerate((CHANNELS // 2, CHANNELS, CHANNELS)):
        weights[f"w{n}"] = rng.normal(0, 0.05, (after, before, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [last, f"w{n}"], [f"c{n}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{n}"], [f"r{n}"]))
        last, before = f"r{n}", after
    nodes += [helper.make_node("GlobalAveragePool", [last], ["g"]), helper.make_node("Flatten", ["g"], ["y"])]
    return finished(nodes, weights, (1, PIXELS, PIXELS), (CHANNELS,))


def perceptron() -> bytes:
    """Return a perceptron of some 34 MB that takes 20 MB of input per second of computing: the byte-heavy end."""
    from onnx import helper

    rng = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for n in range(LAYERS):
        weights[f"w{n}"] = rng.normal(0, 0.03, (SIDE, SIDE)).astype(np.float32)
        nodes += [
            helper.make_node("MatMul", [last, f"w{n}"], [f"m{n}"]),
            helper.make_node("Relu", [f"m{n}"], [f"r{n}"]),
        ]
        last = f"r{n}"
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], axes=[1], keepdims=1))
    return finished(nodes, weights, (SIDE,), (1,))


def ours(fleet, model, data, rows) -> float:
    """Return tasks per second once running."""
    job = fleet.submit_inference(model, data, rows_per_task=rows, privacy="trusted-lenders", memory_mb=1024)
    times = {}

    def moved(job):
        times.setdefault(job.finished, time.perf_counter())

    job.wait(timeout=120, on_progress=moved)
    counts = sorted(count for count in times if count >= job.tasks // 5)
    first, last = counts[0], counts[-1]
    return (last - first) / (times[last] - times[first])


def measure(fleet, base, model, data, rows):
    """Return (our rate, the bare rate) per round, in turn."""
    (base / "m.onnx").write_bytes(model)
    np.save(base / "x.npy", data)
    words = [sys.executable, "-c", BARE, str(base / "m.onnx"), str(base / "x.npy"), str(rows)]
    rates = []
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
        assert bare.stdout.readline() == "ready\n"
        for _ in range(ROUNDS + 1):
            bare.stdin.write("go\n")
            bare.stdin.flush()
            theirs = float(bare.stdout.readline())
            rates.append((ours(fleet, model, data, rows), theirs))
        bare.stdin.close()
    return rates[1:]  # the first round warms both


def main():
    rng = np.random.default_rng(1)
    images = rng.normal(size=(120 * 16, 1, PIXELS, PIXELS)).astype(np.float32)
    table = rng.normal(size=(160 * 64, SIDE)).astype(np.float32)
    limits = [NodeLimits(name="node-1", slots=1, memory_mb=2048)]
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalFleet(Path(folder) / "fleet", limits) as local,
        Fleet(local.home) as fleet,
    ):
        conv = measure(fleet, Path(folder), convolutional(), images, 16)
        heavy = measure(fleet, Path(folder), perceptron(), table, 64)
    ratios = {name: [mine / theirs for mine, theirs in rates] for name, rates in (("conv", conv), ("heavy", heavy))}
    for name, values in ratios.items():
        print(name, "ratios", [round(value, 3) for value in values])
    write("inference", [
        row("inference_ratio_to_bare", round(statistics.median(ratios["conv"]), 4), "ratio", ">= 0.95", "bare process", 1.0),
        row("conv_tasks_per_s", round(statistics.median(mine for mine, _ in conv), 1), "tasks/s", "", "bare process",
            round(statistics.median(theirs for _, theirs in conv), 1)),
        row("byte_heavy_ratio_to_bare", round(statistics.median(ratios["heavy"]), 4), "ratio", "", "bare process", 1.0),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
