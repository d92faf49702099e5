"""Files in safe formats are read as what they are; pickles, junk and mixed tables are refused by name."""

import json
import pathlib
import pickle
import sys

import numpy as np
import pytest

from propolis.messages import values
from propolis.sdk import tables, writing
from propolis.terms.errors import DataError

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def arrow_file(path, columns):
    import pyarrow
    from pyarrow import feather

    feather.write_feather(pyarrow.table(columns), path, compression="uncompressed")
    return path


def test_npy_npz_safetensors_and_csv_are_read_as_written(tmp_path):
    np.save(tmp_path / "t.npy", TABLE)
    assert (tables.read_arrays(tmp_path / "t.npy") == TABLE).all()
    for name in ("t.npz", "t.safetensors"):
        writing.write_arrays(tmp_path / name, {"x": TABLE})
        assert (tables.read_arrays(tmp_path / name)["x"] == TABLE).all()
    writing.write_arrays(tmp_path / "t.csv", {"x": TABLE})
    assert [column.tolist() for column in tables.read_arrays(tmp_path / "t.csv").values()] == TABLE.T.tolist()


def test_arrow_columns_are_arrays(tmp_path):
    found = tables.read_arrays(arrow_file(tmp_path / "t.arrow", {"age": [1.5, 2.5], "n": [3, 4]}))
    assert found["age"].tolist() == [1.5, 2.5]
    assert found["n"].tolist() == [3, 4]


def test_an_arrow_column_of_text_travels_no_further_than_its_name(tmp_path):
    found = tables.read_arrays(arrow_file(tmp_path / "t.arrow", {"who": ["a", "b"]}))
    with pytest.raises(DataError, match="cannot travel"):
        values.encode(found)


def test_arrow_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "t.arrow"
    path.write_bytes(b"ARROW1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError) as found:
        tables.read_arrays(path)
    assert "pip install 'propolis[arrow]'" in found.value.explain()


class Bomb:
    def __reduce__(self):
        return (print, ("the pickle ran",))


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_pickle_inside_an_array_file_is_refused(tmp_path, ending, capsys):
    path = tmp_path / f"t.{ending}"
    array = np.array([Bomb()], dtype=object)
    if ending == "npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, x=array)
    with pytest.raises(DataError):
        tables.read_arrays(path)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError):
        tables.read_arrays(tmp_path / "raw.npy")
    assert "the pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "npy", "npz", "safetensors", "arrow", "json", "jsonl"])
def test_junk_is_named(tmp_path, ending):
    path = tmp_path / f"junk.{ending}"
    path.write_bytes(b"\xff\x00junk{" * 9)
    with pytest.raises(DataError):
        tables.read_values(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 cells"),
        ("1,2\n3,x\n", "'x' in column '2', line 2 is not a number"),
        ("", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b\n1,\n", "the cell in column 'b', line 2 is empty"),
        ("a;b\n1;2\n", "semicolons"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ('a,b\n1,"5,5"\n', "write decimals with a point"),
        ("a\n123456789012345678901234567890\n", "column 'a', line 2 does not fit"),
        ("a\n9007199254740993\n0.5\n", "9007199254740993 in column 'a', line 2"),
    ],
)
def test_a_broken_csv_says_where(tmp_path, text, word):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as found:
        tables.read_arrays(tmp_path / "t.csv")
    assert word in found.value.explain()


@pytest.mark.parametrize(("encoding", "word"), [("utf-16", "UTF-16"), ("latin-1", "Latin-1")])
def test_a_csv_in_another_encoding_says_what_to_save_it_as(tmp_path, encoding, word):
    (tmp_path / "t.csv").write_text("a,é\n1,2\n", encoding)
    with pytest.raises(DataError) as found:
        tables.read_arrays(tmp_path / "t.csv")
    assert word in found.value.explain()
    assert "CSV UTF-8" in found.value.explain()


def test_integers_of_a_csv_stay_integers(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffn,x\n9007199254740993,1\n-3,0.5\n", "utf-8")
    found = tables.read_arrays(tmp_path / "t.csv")
    assert found["n"].tolist() == [9007199254740993, -3]
    assert found["x"].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("kind", ["csv", "file", "stream"])
def test_a_table_gives_a_function_dicts_whatever_its_format(tmp_path, kind):
    import pyarrow

    path = tmp_path / ("t.csv" if kind == "csv" else "t.arrow")
    if kind == "csv":
        path.write_text("age,height\n50,180.5\n40,170\n")
    else:
        table = pyarrow.table({"age": [50, 40], "height": [180.5, 170.0]})
        make = pyarrow.ipc.new_file if kind == "file" else pyarrow.ipc.new_stream
        with make(str(path), table.schema) as writer:
            writer.write_table(table)
    assert tables.read_values(path) == [{"age": 50, "height": 180.5}, {"age": 40, "height": 170.0}]


def test_rows_without_names_are_lists_and_text_and_gaps_of_arrow_come_as_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    assert tables.read_values(tmp_path / "t.csv") == [[1, 2], [3, 4]]
    path = arrow_file(tmp_path / "t.arrow", {"who": ["a", None], "n": [None, 3]})
    assert tables.read_values(path) == [{"who": "a", "n": None}, {"who": None, "n": 3}]


def test_an_archive_of_one_array_is_that_array_for_a_function(tmp_path):
    np.savez(tmp_path / "one.npz", x=TABLE)
    assert [row.tolist() for row in tables.read_values(tmp_path / "one.npz")] == TABLE.tolist()
    np.savez(tmp_path / "two.npz", x=TABLE, y=TABLE)
    with pytest.raises(DataError, match="holds 2 arrays"):
        tables.read_values(tmp_path / "two.npz")


def test_a_result_that_does_not_fit_its_format_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "o.csv"
    target.write_text("old")
    with pytest.raises(DataError, match="different length"):
        writing.write_arrays(target, {"a": np.arange(2), "b": np.arange(3)})
    with pytest.raises(DataError):
        writing.write_arrays(tmp_path / "o.safetensors", {"label": np.array(["yes"])})
    with pytest.raises(DataError):
        writing.write_arrays(tmp_path / "o.npz", {"label": np.array([object()])})
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_values_are_one_per_task(tmp_path):
    (tmp_path / "v.json").write_text(json.dumps([1, {"a": 2}]))
    (tmp_path / "v.jsonl").write_text('1\n\n{"a": 2}\n')
    assert tables.read_values(tmp_path / "v.json") == tables.read_values(tmp_path / "v.jsonl") == [1, {"a": 2}]
    (tmp_path / "one.json").write_text('{"not": "a list"}')
    with pytest.raises(DataError, match="a list of inputs"):
        tables.read_values(tmp_path / "one.json")
    with pytest.raises(DataError, match="no file"):
        tables.read_values(tmp_path / "missing.json")
    (tmp_path / "t.pkl").write_bytes(b"x")
    with pytest.raises(DataError, match="not read"):
        tables.read_arrays(tmp_path / "t.pkl")


def test_what_is_no_input_file_is_told_with_what_would_be_one(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match="xlsx is not read; use csv, npy, npz, safetensors, arrow, json or jsonl"):
        tables.read_values(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match=r"xlsx is not read; use csv, npy, npz, safetensors, arrow$"):
        tables.read_arrays(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="is a folder"):
        tables.read_values(tmp_path)
    with pytest.raises(DataError, match="/dev/null is no plain file"):
        tables.read_values(pathlib.Path("/dev/null"))
