"""Tables and arrays in safe formats: CSV, npy and npz without pickle, safetensors, Arrow (extra), JSON lines. Nothing else."""

import csv
import json
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from propolis.terms.errors import ConfigError, DataError

Array = npt.NDArray[Any]
MAX_FILE = 4 * 1024 * 1024 * 1024


def read_arrays(path: Path) -> Array | dict[str, Array]:
    """Return the array or the named arrays in a file. Raises DataError naming what is wrong."""
    _checked(path)
    try:
        match path.suffix.lower():
            case ".csv":
                return _csv(path)
            case ".npy":
                return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
            case ".npz":
                with np.load(path, allow_pickle=False) as archive:
                    return {name: archive[name] for name in archive.files}
            case ".safetensors":
                from safetensors.numpy import load_file

                return dict(load_file(path))
            case ".arrow" | ".feather":
                return _arrow(path)
            case other:
                raise DataError(
                    f"{other or 'a file without ending'} is not read; use csv, npy, npz, safetensors or arrow"
                )
    except (ValueError, OSError, KeyError, EOFError, BadZipFile, zlib.error, SafetensorError) as error:
        raise DataError(f"{path}: {error}") from error


def read_values(path: Path) -> list[Any]:
    """Return the inputs in a file, one per task: a JSON list, JSON lines, or the rows of a table or array."""
    _checked(path)
    try:
        if path.suffix == ".json":
            values = json.loads(path.read_text("utf-8"))
            if not isinstance(values, list):
                raise DataError(f"{path}: a list of inputs is wanted, one per task")
            return values
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    arrays = read_arrays(path)
    if isinstance(arrays, dict):
        raise DataError(f"{path} holds several arrays; give a function one table, or JSON lines")
    return list(arrays)


def _checked(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.stat().st_size > MAX_FILE:
        raise DataError(f"{path} is over {MAX_FILE >> 30} GB; split it")


def _csv(path: Path) -> Array:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not all(_number(cell) for cell in rows[0]):
        rows = rows[1:]  # a header
    if not rows or len({len(row) for row in rows}) != 1:
        raise DataError(f"{path}: rows of one length are wanted")
    for number, row in enumerate(rows, 1):
        bad = next((cell for cell in row if not _number(cell)), None)
        if bad is not None:
            raise DataError(f"{path}: {bad[:40]!r} in data row {number} is not a number")
    return np.array(rows, dtype=np.float64)


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _arrow(path: Path) -> dict[str, Array]:
    try:
        import pyarrow.feather as feather
    except ImportError as error:
        raise ConfigError("reading Arrow files needs the extra: pip install 'propolis[arrow]'") from error
    table = feather.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Write named arrays as npz, safetensors, or CSV when there is one table of two dimensions or fewer."""
    match path.suffix.lower():
        case ".npz":
            np.savez(path, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
        case ".safetensors":
            from safetensors.numpy import save_file

            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
        case ".csv":
            columns = [np.asarray(array).reshape(len(array), -1) for array in arrays.values()]
            header = [
                f"{name}{n if block.shape[1] > 1 else ''}"
                for name, block in zip(arrays, columns, strict=True)
                for n in range(block.shape[1])
            ]
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                writer.writerows(zip(*(column for block in columns for column in block.T.tolist()), strict=True))
        case other:
            raise DataError(f"results are written as npz, safetensors or csv, not {other or 'without ending'}")
