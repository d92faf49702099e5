"""A model's whole outputs from its tasks' outputs: arrays joined in row order, maps made columns, scalars one per task."""

from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]
EACH = "Job.partial() has each task's own outputs"


def join(results: list[dict[str, Any]]) -> dict[str, Array]:
    """Return named arrays. An output of maps (a classifier's probabilities) becomes one column per key: `name.key`."""
    joined: dict[str, Array] = {}
    for name in _names(results):
        parts = [result[name] for result in results]
        if all(isinstance(part, list) for part in parts):
            joined.update(_columns(name, [row for part in parts for row in part]))
        else:
            joined[name] = _whole(name, [_array(name, part) for part in parts])
    return joined


def _names(results: list[Any]) -> list[str]:
    """Return the outputs' names. What ran the tasks is a stranger: it may have answered anything a value can be."""
    for index, result in enumerate(results):
        if not isinstance(result, dict):
            raise DataError(f"task {index} gave {type(result).__name__}, not a model's named outputs", hint=EACH)
        if result.keys() != results[0].keys():
            odd = min(result.keys() ^ results[0].keys(), key=repr)
            raise DataError(f"output {odd!r:.100} is in task {index} or in task 0, not in both", hint=EACH)
    return list(results[0]) if results else []


def _array(name: str, part: Any) -> Array:
    try:
        array = np.asarray(part)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"output {name!r:.100} is no array: {error}"[:300], hint=EACH) from error
    if array.dtype.kind not in "biufcSU":
        raise DataError(f"output {name!r:.100} holds {array.dtype}, not numbers, booleans or text", hint=EACH)
    return array


def _whole(name: str, parts: list[Array]) -> Array:
    try:
        return np.stack(parts) if parts[0].ndim == 0 else np.concatenate(parts)
    except (ValueError, TypeError, IndexError) as error:
        shapes = ", ".join(sorted({str(list(part.shape)) for part in parts}))
        raise DataError(
            f"output {name} has another shape in each task ({shapes[:100]}): they do not join",
            hint=EACH,
        ) from error


def _columns(name: str, rows: list[Any]) -> dict[str, Array]:
    if not all(isinstance(row, dict) for row in rows):
        return {name: _whole(name, [_array(name, row)[np.newaxis] for row in rows])} if rows else {name: np.empty(0)}
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return {f"{name}.{key}": _array(f"{name}.{key}", [row.get(key, np.nan) for row in rows]) for key in keys}
