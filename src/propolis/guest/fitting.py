"""Whether a task's arrays fit a model's inputs: names, types and shapes, judged before the runtime sees any of them.

The owner's own client checks the same before it seals (sdk/models.py); what comes past it, from an older client or a table that
changed, is told by the input's name, what it expects and what it got. The runtime's own words name no input, or no type.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

NUMBERS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
SHOWN = 8


class Input(Protocol):
    """What onnxruntime tells of one input. A side that is no positive number is free."""

    name: str
    type: str
    shape: Sequence[Any]


def feed(wanted: Sequence[Input], value: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays by input. `value`: arrays by name, or one array for a model of one input. Raises DataError."""
    names = [port.name for port in wanted]
    given = value if isinstance(value, dict) else {names[0]: value} if len(names) == 1 else None
    if given is None:
        raise DataError(f"the model expects inputs {_listed(names)} by name, got one {type(value).__name__}")
    missing, beyond = [name for name in names if name not in given], [name for name in given if name not in names]
    if missing or beyond:
        raise DataError(f"the model expects inputs {_listed(names)}, got {_listed(list(given)) or 'none'}")
    return {port.name: _fit(port, given[port.name]) for port in wanted}


def _fit(port: Input, given: Any) -> npt.NDArray[Any]:
    """Return the array of one input. Raises DataError."""
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise DataError(f"input {port.name} expects an array, got rows of different lengths") from error
    kind = NUMBERS.get(port.type)
    if kind is not None and array.dtype != kind:
        raise DataError(f"input {port.name} expects {np.dtype(kind)}, got {array.dtype}")
    if port.type == "tensor(string)" and array.dtype.kind not in "USO":
        raise DataError(f"input {port.name} expects text, got {array.dtype}")
    sides = list(port.shape or ())
    if port.type.startswith("tensor(") and (
        len(sides) != array.ndim or any(_differs(want, have) for want, have in zip(sides, array.shape, strict=True))
    ):
        shape = ", ".join(str(side) if isinstance(side, int) and side > 0 else "?" for side in sides)
        raise DataError(f"input {port.name} expects shape [{shape}], got {list(array.shape)}")
    return array


def _differs(want: Any, have: int) -> bool:
    return isinstance(want, int) and 0 < want != have


def _listed(names: list[Any]) -> str:
    return ", ".join(str(name)[:100] for name in names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
