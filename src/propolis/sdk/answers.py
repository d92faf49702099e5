"""A model's whole outputs from its tasks' outputs: arrays joined in row order, maps made columns, scalars one per task."""

from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]


def join(results: list[dict[str, Any]]) -> dict[str, Array]:
    """Return named arrays. An output of maps (a classifier's probabilities) becomes one column per key: `name.key`."""
    joined: dict[str, Array] = {}
    for name in results[0]:
        parts = [result[name] for result in results]
        if all(isinstance(part, list) for part in parts):
            joined.update(_columns(name, [row for part in parts for row in part]))
        else:
            joined[name] = _whole(name, [np.asarray(part) for part in parts])
    return joined


def _whole(name: str, parts: list[Array]) -> Array:
    try:
        return np.stack(parts) if parts[0].ndim == 0 else np.concatenate(parts)
    except ValueError as error:
        shapes = ", ".join(sorted({str(list(part.shape)) for part in parts}))
        raise DataError(
            f"output {name} has another shape in each task ({shapes[:100]}): they do not join",
            hint="Job.partial() has each task's own outputs",
        ) from error


def _columns(name: str, rows: list[Any]) -> dict[str, Array]:
    if not all(isinstance(row, dict) for row in rows):
        return {name: _whole(name, [np.asarray(row)[np.newaxis] for row in rows])} if rows else {name: np.empty(0)}
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return {f"{name}.{key}": np.array([row.get(key, np.nan) for row in rows]) for key in keys}
