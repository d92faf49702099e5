"""An inference job's tasks: the table checked against the model before anything is sealed, cut into tasks, results joined."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is imported anywhere below

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
TARGET_TASKS = 128
TASK_BYTES = 1024 * 1024


def read_model(model: str | Path | bytes) -> bytes:
    """Return the model's bytes. Raises DataError."""
    if isinstance(model, bytes):
        return model
    path = Path(model)
    if not path.is_file():
        raise DataError(f"there is no model file {path}")
    return path.read_bytes()


def prepare(model: bytes, given: Array | dict[str, Array]) -> dict[str, Array]:
    """Return the model's named inputs from what was given, cast and checked. Raises DataError naming input and shape."""
    import onnxruntime as ort

    try:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"this is not a model onnxruntime can load: {str(error)[:300]}") from error
    wanted = session.get_inputs()
    arrays = given if isinstance(given, dict) else {wanted[0].name: given}
    if set(arrays) != {item.name for item in wanted}:
        raise DataError(f"the model wants inputs {[i.name for i in wanted]}, given are {sorted(arrays)}")
    ready = {item.name: _fit(item, np.asarray(arrays[item.name])) for item in wanted}
    rows = {len(array) for array in ready.values()}
    if len(rows) != 1 or not next(iter(rows)):
        raise DataError("every input needs the same number of rows, at least one")
    return ready


def _fit(item: Any, array: Array) -> Array:
    dtype = _DTYPES.get(item.type)
    if dtype is None:
        raise DataError(f"input {item.name} is of type {item.type}, which this release does not send")
    shape = item.shape
    if array.ndim != len(shape):
        raise DataError(f"input {item.name} wants shape {shape}, given is {list(array.shape)}")
    for axis, (have, want) in enumerate(zip(array.shape, shape, strict=True)):
        if axis and isinstance(want, int) and want > 0 and have != want:
            raise DataError(f"input {item.name} wants shape {shape}, given is {list(array.shape)}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"input {item.name} wants numbers, given is {array.dtype}")
    return np.ascontiguousarray(array, dtype=dtype)


def cut(arrays: dict[str, Array], rows_per_task: int | None) -> list[dict[str, Array]]:
    """Return the tasks' inputs, in row order."""
    rows = len(next(iter(arrays.values())))
    row_bytes = sum(array.nbytes for array in arrays.values()) / rows
    step = rows_per_task or max(1, min(math.ceil(rows / TARGET_TASKS), int(TASK_BYTES // max(row_bytes, 1)) or 1))
    size = step * row_bytes
    if step < 1 or size > MAX_TASK_BYTES - 4096:
        limit = MAX_TASK_BYTES >> 20
        raise DataError(f"{step} rows make a task of {size / 1e6:.1f} MB, over {limit} MB: use fewer rows per task")
    return [{name: array[start : start + step] for name, array in arrays.items()} for start in range(0, rows, step)]


def join(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return whole outputs from the tasks' outputs, in order."""
    joined: dict[str, Any] = {}
    for name in results[0]:
        parts = [result[name] for result in results]
        joined[name] = (
            np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [row for part in parts for row in part]
        )
    return joined
