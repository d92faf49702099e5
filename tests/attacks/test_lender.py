"""A whole node whose lender allows models only, or lives beside bad jobs: what hostile owners and orchestrators get from it."""

import secrets
import time
from types import MappingProxyType

import numpy as np
import pytest
from onnx import TensorProto, helper

from propolis.decisions.privacy import requirement_for
from propolis.messages import values
from propolis.messages.program import Program
from propolis.owner.live import Draft
from propolis.runtime import config
from propolis.sdk import Fleet
from propolis.sdk.job import Job
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import RequirementUnmet, TaskRaised
from propolis.terms.job import BlobRef, JobSpec, Kind, Needs

PRIVACY = "trusted-lenders"
SOURCE = "def main(x):\n    return 42\n"
YES_TO_ALL = "from propolis.decisions import admission; admission.refusals = lambda *_: []; "
RENAMES = (
    "import msgspec; from propolis.messages import jobs as say; from propolis.terms.job import Kind; Plain = say.OpenGuests; "
    "say.OpenGuests = lambda spec, **rest: Plain(spec=msgspec.structs.replace(spec, kind=Kind.INFERENCE), **rest); "
)


class HostileFleet(LocalFleet):
    """A local fleet whose orchestrator first does something to its own code; one node, for models only."""

    first = ""

    def __init__(self, home, first=""):
        super().__init__(home, [NodeLimits(name="n0")])
        self.first = first
        config.write(home / "n0" / "node.json", config.NodeFile(name="n0", kinds=("inference",)))

    def _launch(self, words, name, more=MappingProxyType({})):
        if words[0] != "propolis.orchestrator":
            return super()._launch(words, name, more)
        code = f"{self.first}import sys; from propolis.orchestrator.__main__ import main; sys.exit(main())"
        (self.home / "hostile_hub.py").write_text(code)
        return super()._launch(["hostile_hub", *words[1:]], name, {**more, "PYTHONPATH": str(self.home)})


def doubler():
    """Return a model of one input x [rows, 4] of float32: y = x + x."""
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [None, 4])], [value("y", TensorProto.FLOAT, [None, 4])]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "net", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def submit(fleet, kind, program, inputs):
    """Submit a job whose spec says one kind and whose sealed program may be another."""
    spec = JobSpec(
        job=secrets.token_bytes(16), name="odd", kind=kind, tasks=len(inputs), program=BlobRef(blob=bytes(32), size=0),
        requirement=requirement_for(PRIVACY), needs=Needs(memory_mb=512),
    )  # fmt: skip
    draft = Draft(spec=spec, program=program)
    return Job(fleet, fleet._call(fleet._session.submit(draft, [values.encode(value) for value in inputs])))


def told(fleet, job, word, seconds=60):
    """Wait until what is known of a job holds a word; return it all."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        explained = fleet.explain(job.id)
        text = repr(explained)
        if word in text:
            return text
        job.wait(timeout=0.2)
    raise AssertionError(f"{word!r} was never said: {text}")


FUNCTION = Program(kind=Kind.FUNCTION, source=SOURCE, entry="main")
BOTH = Program(kind=Kind.FUNCTION, source=SOURCE, entry="main", model=doubler())


@pytest.mark.parametrize(
    ("first", "kind", "program", "word"),
    [
        ("", Kind.FUNCTION, FUNCTION, "does not offer function jobs"),
        ("", Kind.INFERENCE, FUNCTION, "the program is for function"),
        ("", Kind.INFERENCE, BOTH, "the program is for function"),
        (
            YES_TO_ALL,
            Kind.FUNCTION,
            FUNCTION,
            f"after: {RequirementUnmet.code}: its lender does not offer function jobs",
        ),
        (YES_TO_ALL + RENAMES, Kind.FUNCTION, FUNCTION, "the program is for function"),
    ],
    ids=["honest", "disguised", "with a model too", "orchestrator says yes to all", "orchestrator renames it"],
)
def test_a_lender_of_models_runs_no_function(tmp_path, first, kind, program, word):
    with HostileFleet(tmp_path, first) as local, Fleet(local.home) as fleet:
        job = submit(fleet, kind, program, [1, 2])
        told(fleet, job, word)
        assert job.finished == 0
        fleet.stop(job.id)
        x = np.ones((2, 4), np.float32)
        assert (fleet.infer(doubler(), x, privacy=PRIVACY) == 2).all(), "what it is lent for still runs"
        assert local.nodes["n0"].poll() is None


THREADS = """
import threading
threading.stack_size(65536)
def main(x):
    over = threading.Event()
    while True: threading.Thread(target=over.wait, daemon=True).start()
"""
FORKS = "import os\ndef main(x):\n    while True: os.fork()\n"


def test_threads_and_processes_without_end_are_refused_and_the_node_lives(tmp_path):
    with LocalFleet(tmp_path, [NodeLimits(name="n0")]) as local, Fleet(local.home) as fleet:
        for source, word in ((THREADS, "can't start new thread"), (FORKS, "PermissionError")):
            job = fleet.submit_map(source, [1], entry="main", privacy=PRIVACY)
            assert job.wait(timeout=60) == "done"
            with pytest.raises(TaskRaised, match=word):
                job.results()
        assert fleet.map(SOURCE, [1], entry="main", privacy=PRIVACY) == [42]
        assert local.nodes["n0"].poll() is None


BAD = [
    ({"x": np.ones((2, 3), np.float32)}, "input x expects shape [?, 4], got [2, 3]"),
    ({"x": np.ones((4,), np.float32)}, "input x expects shape [?, 4], got [4]"),
    ({"x": np.ones((2, 2, 4), np.float32)}, "input x expects shape [?, 4], got [2, 2, 4]"),
    ({"x": np.float32(1)}, "input x expects shape [?, 4], got []"),
    ({"x": np.ones((0, 3), np.float32)}, "input x expects shape [?, 4], got [0, 3]"),
    ({"x": np.ones((2, 4))}, "input x expects float32, got float64"),
    ({"x": np.ones((2, 4), bool)}, "input x expects float32, got bool"),
    ({"x": np.array([["a"] * 4])}, "input x expects float32, got <U1"),
    ({"x": "text"}, "input x expects float32, got <U4"),
    ({"x": None}, "input x expects float32, got object"),
    ({"x": [[1.0], [1.0, 2.0]]}, "input x expects an array, got rows of different lengths"),
    ({"y": np.ones((2, 4), np.float32)}, "the model expects inputs x, got y"),
    ({"x": np.ones((2, 4), np.float32), "z": 1}, "the model expects inputs x, got x, z"),
    ({}, "the model expects inputs x, got none"),
    ([[1, 2, 3, 4]], "input x expects float32, got int64"),
]
"""Past the owner's own check: from an older client, or by hand."""


def test_a_table_that_does_not_fit_the_model_is_told_by_input_and_kills_no_guest(tmp_path):
    good = {"x": np.ones((2, 4), np.float32)}
    with LocalFleet(tmp_path, [NodeLimits(name="n0")]) as local, Fleet(local.home) as fleet:
        program = Program(kind=Kind.INFERENCE, model=doubler())
        job = submit(fleet, Kind.INFERENCE, program, [given for given, _ in BAD] + [good, {"x": good["x"][:0]}])
        assert job.wait(timeout=60) == "done"
        outcomes = [job._live.outcomes[index][1] for index in range(len(BAD) + 2)]
        for (_, wanted), outcome in zip(BAD, outcomes, strict=False):
            assert not outcome.ok
            assert outcome.error.strip() == wanted
        assert (values.decode(outcomes[-2].value)["y"] == 2).all()
        assert values.decode(outcomes[-1].value)["y"].shape == (0, 4)
        assert len({item.guest for item, _ in job._live.outcomes.values()}) == 1, "one guest ran them all"
