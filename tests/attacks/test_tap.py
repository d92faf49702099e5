"""All that passes between the owner's process and its wires is tapped, at the Wire port: no plaintext marker is in it.

The tap sits below everything of ours and above the carrier's own encryption, so what it sees is what an orchestrator sees. It
records both ways: every Stream.write and datagram that leaves, and, for results, every one that comes.
"""

import numpy as np
import pytest

from propolis.owner import client
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

PLACES = ("source", "plain", "array", "printed", "result", "weights", "table")
MARKERS = {place: f"MARKER-7c1e5f-{place:-<8}IN-CLEAR".encode() for place in PLACES}
VISIBLE = "the-name-of-a-job-is-not-secret"
PRIVACY = "trusted-lenders"


def floats(place):
    """Return numbers whose bytes are the marker: four letters make a float."""
    return np.frombuffer(MARKERS[place] * 4, np.float32)


class Tapped:
    """Passes everything on, and keeps the bytes in `seen`."""

    def __init__(self, real, seen):
        self._real, self._seen = real, seen

    def __getattr__(self, name):
        return getattr(self._real, name)

    def _kept(self):
        self._seen.append(bytearray())
        return self._seen[-1]


class TappedStream(Tapped):
    def __init__(self, real, seen):
        super().__init__(real, seen)
        self._out, self._in = self._kept(), self._kept()

    async def write(self, data):
        self._out.extend(data)
        await self._real.write(data)

    async def read(self, limit):
        data = await self._real.read(limit)
        self._in.extend(data)
        return data


class TappedChannel(Tapped):
    async def open_stream(self):
        return TappedStream(await self._real.open_stream(), self._seen)

    async def accept_stream(self):
        return TappedStream(await self._real.accept_stream(), self._seen)

    async def send_datagram(self, data):
        self._kept().extend(data)
        await self._real.send_datagram(data)

    async def receive_datagram(self):
        data = await self._real.receive_datagram()
        self._kept().extend(data)
        return data


class TappedWire(Tapped):
    async def dial(self, contact):
        return TappedChannel(await self._real.dial(contact), self._seen)

    async def accept(self):
        return TappedChannel(await self._real.accept(), self._seen)


@pytest.fixture
def tapped(monkeypatch):
    """What passed, a piece per direction of a stream and per datagram."""
    seen, real = [], client.open_wires

    async def open_wires(*words):
        return [TappedWire(wire, seen) for wire in await real(*words)]

    monkeypatch.setattr(client, "open_wires", open_wires)
    return seen


SOURCE = f"""
NOTE = {MARKERS["source"].decode()!r}

def main(x):
    print({MARKERS["printed"].decode()[::-1]!r}[::-1])
    return [x["plain"], x["array"] * 1, {MARKERS["result"].decode()[::-1]!r}[::-1]]
"""


def function_job(fleet):
    inputs = [{"plain": MARKERS["plain"].decode(), "array": floats("array"), "n": n} for n in range(20)]
    job = fleet.submit_map(SOURCE, inputs, entry="main", privacy=PRIVACY, name=VISIBLE)
    assert job.wait(timeout=30) == "done", job.reason()
    plain, array, result = job.results()[7]
    assert [plain.encode(), array.tobytes(), result.encode()] == [
        MARKERS["plain"],
        MARKERS["array"] * 4,
        MARKERS["result"],
    ]
    assert MARKERS["printed"].decode() in job.logs()[0][1]


def model():
    """Return a model that gives back its weights and its input."""
    from onnx import TensorProto, helper

    weights = floats("weights")
    shape = ["rows", len(weights)]
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "echo", "learned")]
    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [len(weights)], weights.tobytes(), raw=True),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    nodes = [
        helper.make_node("Identity", ["x"], ["echo"]),
        helper.make_node("Mul", ["x", "zero"], ["none"]),
        helper.make_node("Add", ["none", "w"], ["learned"]),
    ]
    graph = helper.make_graph(nodes, "tap", tensor[:1], tensor[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    assert MARKERS["weights"] in made
    return made


def inference_job(fleet):
    table = np.tile(floats("table"), (40, 1))
    job = fleet.submit_inference(model(), table, privacy=PRIVACY, name=VISIBLE)
    assert job.wait(timeout=30) == "done", job.reason()
    results = job.results()
    assert results["echo"][11].tobytes() == MARKERS["table"] * 4
    assert results["learned"][39].tobytes() == MARKERS["weights"] * 4


@pytest.mark.parametrize("submit", [function_job, inference_job], ids=lambda submit: submit.__name__)
def test_no_plaintext_leaves_the_owner(tapped, tmp_path, submit):
    with LocalFleet(tmp_path, [NodeLimits(name="n0", memory_mb=2048)]) as local, Fleet(local.home) as fleet:
        submit(fleet)
    assert any(VISIBLE.encode() in piece for piece in tapped), "the tap sees what is not sealed"
    assert any(piece[:1] == b"B" for piece in tapped), "and the program's own stream"
    assert sum(map(len, tapped)) > 20 * len(MARKERS["array"]) * 4, "the tap saw inputs and results pass"
    rests = [path for name in ("orchestrator", "n0", "logs") for path in (tmp_path / name).rglob("*") if path.is_file()]
    for place, marker in MARKERS.items():
        assert not any(marker in piece for piece in tapped), f"{place} passes in the clear"
        for path in rests:
            assert marker not in path.read_bytes(), f"{place} rests in {path}"
