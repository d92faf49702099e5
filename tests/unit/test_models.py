"""What goes into a model and what comes out of it: nothing changed silently, nothing lost after the job ran."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from propolis.guest import work
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.sdk import answers, casting, models, tables
from propolis.terms.errors import DataError
from propolis.terms.job import Kind


def made(nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def identity(kind=TensorProto.FLOAT, shape=("N", 3)):
    return made([helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)])


FLOAT = TensorProto.FLOAT
MEAN = made([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], [("x", FLOAT, ("N", 3))], [("y", FLOAT, ())])
NAMED = made(
    [helper.make_node("Sub", ["height", "age"], ["y"])],
    [("age", FLOAT, ("N", 1)), ("height", FLOAT, ("N", 1))],
    [("y", FLOAT, ("N", 1))],
)


def run(model, given, rows=None):
    """Go the whole way of a job but for the sealing."""
    wanted = models.signature(model)
    compute = work.load(Program(kind=Kind.INFERENCE, model=model))
    found = []
    for task in models.cut(models.prepare(wanted, given), rows, wanted.batch):
        outcome = codec.decode(work.outcome(compute, values.encode(task)), values.Outcome)
        assert outcome.ok, outcome.error
        found.append(values.decode(outcome.value))
    return answers.join(found)


def table(**columns):
    return tables.Table({name: np.array(column) for name, column in columns.items()})


def test_columns_go_to_the_inputs_of_their_names_or_side_by_side():
    given = table(height=[180, 170], age=[50.0, 40.0])
    assert run(NAMED, given)["y"].ravel().tolist() == [130.0, 130.0]
    three = table(a=[1, 4], b=[2, 5], c=[3, 6])
    assert run(identity(), three)["y"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert run(identity(), dict(three))["y"].tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="missing: age; not an input: id"):
        run(NAMED, table(id=[1], height=[2]))
    with pytest.raises(DataError, match="wants 3 columns, given are 2: a, b"):
        run(identity(), table(a=[1], b=[2]))


@pytest.mark.parametrize(
    ("kind", "column", "word"),
    [
        (np.int64, [1.0, 0.5], "0.5 \\(row 2\\) cannot become int64"),
        (np.int64, [float("nan")], "nan"),
        (np.int64, [2.0**63], "cannot become int64"),
        (np.int64, [np.uint64(2**63)], "cannot become int64"),
        (np.int32, [2**31], "2147483648"),
        (np.uint8, [-1], "-1"),
        (np.bool_, [2], "cannot become bool"),
        (np.float32, [1e39], "cannot become float32"),
        (np.float32, ["a"], "wants numbers"),
    ],
)
def test_a_lossy_cast_is_refused_by_column_and_value(kind, column, word):
    with pytest.raises(DataError, match=word) as found:
        casting.exact("column 'n'", np.array(column), kind)
    assert "column 'n'" in str(found.value)


def test_what_fits_is_cast():
    assert casting.exact("n", np.array([9007199254740993]), np.int64).tolist() == [9007199254740993]
    assert casting.exact("n", np.array([3.0, -(2.0**63)]), np.int64).tolist() == [3, -(2**63)]
    assert casting.exact("n", np.array([True, False]), np.int64).tolist() == [1, 0]
    assert np.isnan(casting.exact("n", np.array([np.nan]), np.float32)).all()
    big = models.prepare(models.signature(identity(TensorProto.INT64, ("N", 2))), table(x=[9007199254740993], y=[2]))
    assert big["x"].tolist() == [[9007199254740993, 2]]


def test_a_scalar_output_comes_once_per_task():
    assert run(MEAN, np.ones((4, 3)), rows=2)["y"].tolist() == [1.0, 1.0]


def test_a_classifiers_maps_become_columns():
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1]], np.float32)
    for labels in ([0, 1, 0, 1], ["no", "yes", "no", "yes"]):
        model = to_onnx(LogisticRegression().fit(rows, labels), rows[:1]).SerializeToString()
        found = run(model, rows, rows=3)
        assert list(found) == ["output_label", f"output_probability.{labels[0]}", f"output_probability.{labels[1]}"]
        assert found["output_label"].tolist() == labels
        assert np.allclose(found[f"output_probability.{labels[0]}"] + found[f"output_probability.{labels[1]}"], 1)


def test_a_fixed_batch_is_cut_as_the_model_wants_it_or_refused_before():
    fixed = identity(shape=(4, 3))
    assert run(fixed, np.arange(24).reshape(8, 3))["y"].shape == (8, 3)
    with pytest.raises(DataError, match="10 rows leave 2 over") as found:
        run(fixed, np.ones((10, 3)))
    assert "give 8 or 12 rows" in found.value.explain()
    with pytest.raises(DataError, match="exactly 4 rows"):
        run(fixed, np.ones((8, 3)), rows=2)


def test_what_cannot_come_back_is_refused_before_a_job_exists():
    sequence = helper.make_model(
        helper.make_graph(
            [helper.make_node("SequenceConstruct", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", FLOAT, ("N", 3))],
            [helper.make_tensor_sequence_value_info("y", FLOAT, ("N", 3))],
        ),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    onnx.checker.check_model(sequence)
    with pytest.raises(DataError, match="output y is of type seq"):
        models.signature(sequence.SerializeToString())
    with pytest.raises(DataError, match="single number"):
        models.signature(identity(shape=()))


def test_outputs_that_do_not_join_are_named():
    with pytest.raises(DataError, match="output y has another shape in each task"):
        answers.join([{"y": np.ones((2, 3))}, {"y": np.ones((2, 4))}])
