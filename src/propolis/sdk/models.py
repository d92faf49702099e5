"""An inference job's tasks: the table checked against the model before anything is sealed, and cut into tasks.

What a model cannot take, or gives in a form that cannot come back, is refused here, before a job exists.
"""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is imported anywhere below

from propolis.sdk import casting
from propolis.terms.errors import DataError
from propolis.terms.job import MAX_TASK_BYTES

Array = npt.NDArray[Any]
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_COMES_BACK = re.compile(r"tensor\((?!b?float8|bfloat)\w+\)|seq\(map\(\w+,tensor\(\w+\)\)\)")
TARGET_TASKS = 128
TASK_BYTES = 1024 * 1024


class Port(msgspec.Struct, frozen=True):
    """One input of a model. A side that is no positive number is free."""

    name: str
    kind: str
    shape: tuple[Any, ...]


class Signature(msgspec.Struct, frozen=True):
    """What a model takes. `batch` = exactly this many rows at a time; 0 = any number."""

    inputs: tuple[Port, ...]
    batch: int


def read_model(model: str | Path | bytes) -> bytes:
    """Return the model's bytes. Raises DataError."""
    if isinstance(model, bytes):
        return model
    path = Path(model)
    if not path.is_file():
        raise DataError(f"{path} is a folder, not a model" if path.is_dir() else f"there is no model file {path}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def signature(model: bytes) -> Signature:
    """Return what the model takes. Raises DataError when it does not load, or gives what cannot come back."""
    import onnxruntime as ort

    try:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"this is not a model onnxruntime can load: {str(error)[:300]}") from error
    for item in session.get_outputs():
        if not _COMES_BACK.fullmatch(item.type):
            raise DataError(
                f"output {item.name} is of type {item.type}, which this release does not bring back",
                hint="export the model with tensors as outputs",
            )
    inputs = tuple(Port(item.name, item.type, tuple(item.shape)) for item in session.get_inputs())
    return Signature(inputs, _batch(inputs))


def _batch(inputs: tuple[Port, ...]) -> int:
    if not inputs:
        raise DataError("the model has no inputs: there is nothing to run it over")
    for port in inputs:
        if not port.shape:
            raise DataError(f"input {port.name} is a single number; a first dimension of rows is wanted")
    fixed = {port.shape[0] for port in inputs if isinstance(port.shape[0], int) and port.shape[0] > 0}
    if len(fixed) > 1:
        raise DataError(f"the model's inputs want different numbers of rows at a time: {sorted(fixed)}")
    return int(next(iter(fixed), 0))


def prepare(wanted: Signature, given: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """Return the model's named inputs, cast and checked. Raises DataError naming input, shape or value.

    Columns (a table, or one-dimensional arrays by name) go to the inputs of their names, or all of them in order, side by
    side, to a model with one input of two dimensions.
    """
    names = [port.name for port in wanted.inputs]
    arrays = {
        name: np.asarray(array) for name, array in (given if isinstance(given, Mapping) else {names[0]: given}).items()
    }
    ready = {port.name: _whole(port, arrays, names) for port in wanted.inputs}
    rows = {len(array) for array in ready.values()}
    if len(rows) != 1 or not next(iter(rows)):
        raise DataError("every input needs the same number of rows, at least one")
    return ready


def _whole(port: Port, given: dict[str, Array], names: list[str]) -> Array:
    """Return the array for one input."""
    if set(given) == set(names):
        return _fit(port, given[port.name])
    if len(names) == 1 and len(port.shape) == 2 and given and all(array.ndim == 1 for array in given.values()):
        return _side_by_side(port, given)
    missing, beyond = [n for n in names if n not in given], [n for n in given if n not in names]
    raise DataError(
        f"the model wants inputs {', '.join(names)}; "
        + "; ".join(
            f"{word}: {', '.join(some[:8])}{' ...' if len(some) > 8 else ''}"
            for word, some in (("missing", missing), ("not an input", beyond))
            if some
        ),
        hint="name the columns or arrays as the model's inputs, and leave out the others",
    )


def _kind(port: Port) -> type[np.generic]:
    dtype = _DTYPES.get(port.kind)
    if dtype is None:
        raise DataError(f"input {port.name} is of type {port.kind}, which this release does not send")
    return dtype


def _side_by_side(port: Port, columns: dict[str, Array]) -> Array:
    """Cast each column, so that a bad value is named by its own, and put them side by side."""
    kind, width = _kind(port), port.shape[1]
    if isinstance(width, int) and width > 0 and width != len(columns):
        names = list(columns)
        shown = ", ".join(names if len(names) <= 8 else [*names[:6], "...", names[-1]])
        raise DataError(
            f"input {port.name} wants {width} columns, given are {len(columns)}: {shown}",
            hint="the table holds the model's columns in their order and nothing else, like no column of answers",
        )
    if len({len(column) for column in columns.values()}) != 1:
        raise DataError("the columns have different lengths")
    return np.column_stack([casting.exact(f"column {name!r}", column, kind) for name, column in columns.items()])


def _fit(port: Port, array: Array) -> Array:
    kind, shape = _kind(port), port.shape
    if array.ndim == 1 and len(shape) == 2 and not (isinstance(shape[1], int) and shape[1] > 1):
        array = array.reshape(-1, 1)  # a column of a table
    shown = "[" + ", ".join(str(side) if side is not None else "?" for side in shape) + "]"
    if array.ndim != len(shape) or any(
        isinstance(want, int) and 0 < want != have for have, want in zip(array.shape[1:], shape[1:], strict=True)
    ):
        raise DataError(f"input {port.name} wants shape {shown}, given is {list(array.shape)}")
    return casting.exact(f"input {port.name}", array, kind)


def cut(arrays: dict[str, Array], rows_per_task: int | None, batch: int = 0) -> list[dict[str, Array]]:
    """Return the tasks' inputs, in row order. Raises DataError where the rows cannot be cut as the model wants them."""
    rows = len(next(iter(arrays.values())))
    row_bytes = sum(array.nbytes for array in arrays.values()) / rows
    step = rows_per_task or max(1, min(math.ceil(rows / TARGET_TASKS), int(TASK_BYTES // max(row_bytes, 1)) or 1))
    if batch:
        step = _batched(rows, rows_per_task, batch)
    size = step * row_bytes
    if step < 1 or size > MAX_TASK_BYTES - 4096:
        limit = MAX_TASK_BYTES >> 20
        raise DataError(f"{step} rows make a task of {size / 1e6:.1f} MB, over {limit} MB: use fewer rows per task")
    return [{name: array[start : start + step] for name, array in arrays.items()} for start in range(0, rows, step)]


def _batched(rows: int, rows_per_task: int | None, batch: int) -> int:
    if rows_per_task not in (None, batch):
        raise DataError(f"the model takes exactly {batch} rows at a time, not {rows_per_task} per task")
    if rows % batch:
        raise DataError(
            f"the model takes exactly {batch} rows at a time, and {rows} rows leave {rows % batch} over",
            hint=f"give {rows - rows % batch or batch} or {rows - rows % batch + batch} rows, "
            "or export the model with a free first dimension",
        )
    return batch
