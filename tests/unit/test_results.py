"""Results of strangers: whatever a task answered, joining and writing gives arrays or a DataError that names the output."""

import numpy as np
import pytest

from propolis.sdk import answers, tables, writing
from propolis.terms.errors import DataError

ONE = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("results", "word"),
    [
        ([{"a": ONE}, {"b": ONE}], "'a'"),
        ([{"a": ONE, "b": ONE}, {"a": ONE}], "'b'"),
        ([[1]], "task 0 gave list"),
        ([{"a": ONE}, {1: ONE, b"x": ONE}], "in task 1 or in task 0"),
        ([{"a": ONE}, None], "task 1 gave NoneType"),
        ([{"o": ONE}, {"o": np.zeros((2, 3))}], "output o"),
        ([{"o": ONE}, {"o": np.float64(1.0)}], "output o"),
        ([{"o": [[1], [1, 2]]}], "output o"),
        ([{"o": ONE}, {"o": [[1], [1, 2]]}], "'o'"),
        ([{"o": {"x": 1}}], "'o'"),
        ([{"o": None}], "'o'"),
        ([{"o": [{"k": [1]}, {"k": 2}]}], "'o.k'"),
        ([{"o": [{"k": None}]}], "'o.k'"),
    ],
)
def test_answers_that_do_not_join_name_the_output_and_the_way_out(results, word):
    with pytest.raises(DataError, match=word) as raised:
        answers.join(results)
    assert raised.value.way_out


@pytest.mark.parametrize("name", ["file", "allow_pickle", "self", "args", "kwds", "a/b", "..", "", "ü" * 50])
def test_an_npz_holds_outputs_of_any_name(tmp_path, name):
    path = tmp_path / "o.npz"
    writing.write_arrays(path, {name: np.arange(3), "other": np.array(["text"])})
    back = tables.read_arrays(path)
    assert back[name].tolist() == [0, 1, 2]
    assert back["other"].tolist() == ["text"]
    assert [p.name for p in tmp_path.iterdir()] == ["o.npz"]


@pytest.mark.parametrize("ending", ["npz", "safetensors", "csv"])
@pytest.mark.parametrize(
    "arrays",
    [
        {"o": [[1], [1, 2]]},
        {"o": np.array([object()])},
        {"o": np.array([None])},
        {"o": np.array(["a"])},
        {"o": np.array([b"a"])},
        {"o": np.array(1.0)},
        {"o\0p": np.zeros(2)},
        {"o": np.zeros((0, 3)), "p": np.zeros((2, 0))},
        {"o": np.zeros((0,))},
        {"o": np.array(1j)},
        {"": np.zeros(2)},
        {},
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_leaves_no_file(tmp_path, ending, arrays):
    try:
        writing.write_arrays(tmp_path / f"o.{ending}", arrays)
    except DataError:
        assert not list(tmp_path.iterdir())


def test_text_in_safetensors_is_refused_with_the_outputs_name(tmp_path):
    with pytest.raises(DataError, match="'label'"):
        writing.write_arrays(tmp_path / "o.safetensors", {"label": np.array(["yes"])})
