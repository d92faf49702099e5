"""Numbers into the type a model wants, or a refusal that names the value: a cast never changes a number silently.

Into integers and booleans only what arrives unchanged passes. Into floats a number may be rounded to the nearest, as
every reader of decimals rounds, but a finite one never becomes infinite.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]


def exact(what: str, array: Array, kind: type[np.generic]) -> Array:
    """Return `array` as `kind`. Raises DataError naming `what`, the first bad value and where it stands."""
    target = np.dtype(kind)
    if array.dtype.kind not in "biuf":
        held = "text or empty cells" if array.dtype.kind in "OUS" else str(array.dtype)
        raise DataError(f"{what} holds {held}; a model wants numbers")
    if array.dtype == target:
        return np.ascontiguousarray(array)
    with np.errstate(all="ignore"):
        made = array.astype(target)
        bad = _changed(array, made)
    if bad.any():
        where = tuple(int(side) for side in np.argwhere(bad)[0])
        row = f" (row {where[0] + 1})" if where else ""
        raise DataError(
            f"{what}: {array[where]}{row} cannot become {target} unchanged",
            hint="round, replace or drop such values first, or export the model with another input type",
        )
    return np.ascontiguousarray(made)


def _changed(array: Array, made: Array) -> npt.NDArray[np.bool_]:
    if made.dtype.kind == "f":
        return np.asarray(np.isfinite(array) & ~np.isfinite(made))
    if array.dtype.kind == "b":
        return np.zeros(array.shape, np.bool_)
    low, high = (0, 1) if made.dtype.kind == "b" else (np.iinfo(made.dtype).min, np.iinfo(made.dtype).max)
    outside = array > high
    if (
        array.dtype.kind == "f"
    ):  # 2**63 is a float, 2**63 - 1 is not; NaN is outside of nothing, but never comes back equal
        outside = array >= float(high) + 1.0
    return np.asarray((array < low) | outside | (made.astype(array.dtype) != array))
