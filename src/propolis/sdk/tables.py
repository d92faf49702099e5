"""Tables and arrays in safe formats: CSV, npy and npz without pickle, safetensors, Arrow (extra), JSON lines. Nothing else.

A table behaves the same whatever file it comes from: columns by name, in order. A function gets its rows as dicts, one a
task; a model gets columns by name, or all of them side by side (sdk/models.py).
"""

import json
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from propolis.sdk import arrow_tables, csv_tables
from propolis.terms.errors import DataError

Array = npt.NDArray[Any]
MAX_FILE = 4 * 1024 * 1024 * 1024
READ = "csv, npy, npz, safetensors, arrow"
VALUES = f"{READ}, json or jsonl"  # what a function takes


class Table(dict[str, Array]):
    """Columns of one length, by name and in order. `named` = the names are the file's, not just numbers."""

    def __init__(self, columns: dict[str, Array], *, named: bool = True) -> None:
        super().__init__(columns)
        self.named = named

    def rows(self) -> list[Any]:
        """Return one plain dict per row; a list where the columns have no names."""
        rows = zip(*(column.tolist() for column in self.values()), strict=True)
        return [dict(zip(self, row, strict=True)) for row in rows] if self.named else [list(row) for row in rows]


def read_arrays(path: Path, formats: str = READ) -> Array | dict[str, Array]:
    """Return the array, the named arrays or the Table in a file. Raises DataError naming what is wrong, or `formats`."""
    _checked(path)
    try:
        match path.suffix.lower():
            case ".csv":
                columns, named = csv_tables.read(path)
                return Table(columns, named=named)
            case ".npy":
                return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
            case ".npz":
                with np.load(path, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            case ".safetensors":
                from safetensors.numpy import load_file

                return dict(load_file(path))
            case ".arrow" | ".arrows" | ".feather":
                return Table(arrow_tables.read(path))
            case other:
                raise DataError(f"{path}: {other or 'a file without ending'} is not read; use {formats}")
    except (ValueError, OSError, KeyError, EOFError, BadZipFile, zlib.error, SafetensorError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path} holds Python objects; only numbers, booleans and text are read") from error
        raise DataError(f"{path}: {error}") from error


def read_values(path: Path) -> list[Any]:
    """Return the inputs in a file, one per task: a JSON list, JSON lines, the rows of a table as dicts, or of one array.

    Raises DataError.
    """
    _checked(path)
    ending = path.suffix.lower()
    if ending == ".json":
        values = _json(path, path.read_bytes())
        if not isinstance(values, list):
            raise DataError(f"{path}: a list of inputs is wanted, one per task")
        return values
    if ending == ".jsonl":
        lines = enumerate(path.read_bytes().splitlines(), 1)
        return [_json(path, line, f", line {number}") for number, line in lines if line.strip()]
    arrays = read_arrays(path, VALUES)
    if isinstance(arrays, Table):
        return arrays.rows()
    if isinstance(arrays, dict):
        if len(arrays) != 1:
            raise DataError(f"{path} holds {len(arrays)} arrays; give a function one of them, a table, or JSON lines")
        arrays = next(iter(arrays.values()))
    if arrays.ndim == 0:
        raise DataError(f"{path} holds a single number; a list of inputs is wanted, one per task")
    return list(arrays)


def _json(path: Path, data: bytes, where: str = "") -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}{where}: {error}") from error


def _checked(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file")
    if not path.is_file():
        raise DataError(f"{path} is no plain file" if path.exists() else f"there is no file {path}")
    if path.stat().st_size > MAX_FILE:
        raise DataError(f"{path} is over {MAX_FILE >> 30} GB; split it")
