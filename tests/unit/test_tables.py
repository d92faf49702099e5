"""Files in safe formats are read as what they are; pickles, junk and mixed tables are refused by name."""

import json
import pickle
import sys

import numpy as np
import pytest

from propolis.messages import values
from propolis.sdk import tables
from propolis.terms.errors import ConfigError, DataError

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
        tables.write_arrays(tmp_path / name, {"x": TABLE})
        assert (tables.read_arrays(tmp_path / name)["x"] == TABLE).all()
    tables.write_arrays(tmp_path / "t.csv", {"x": TABLE})
    assert (tables.read_arrays(tmp_path / "t.csv") == TABLE).all()


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
    monkeypatch.setitem(sys.modules, "pyarrow.feather", None)
    with pytest.raises(ConfigError, match=r"pip install 'propolis\[arrow\]'"):
        tables.read_arrays(path)


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
    ("text", "word"), [("a,b\n1,2\n3\n", "one length"), ("1,2\n3,x\n", "'x' in data row 2"), ("", "one length")]
)
def test_a_broken_csv_says_where(tmp_path, text, word):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=word):
        tables.read_arrays(tmp_path / "t.csv")


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
