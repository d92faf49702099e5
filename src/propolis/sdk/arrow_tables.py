"""Arrow as columns: the file format, the stream format, and Feather. Needs the extra `arrow`."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]


def read(path: Path) -> dict[str, Array]:
    """Return columns by name; text, and numbers with empty cells, come as objects. Raises DataError."""
    try:
        import pyarrow
        from pyarrow import feather, ipc
    except ImportError as error:
        raise DataError("reading Arrow files needs a library", hint="pip install 'propolis[arrow]'") from error
    try:
        with path.open("rb") as file:
            start = file.read(6)
            file.seek(0)
            if start == b"ARROW1":
                table = ipc.open_file(file).read_all()
            elif start.startswith(b"FEA1"):
                table = feather.read_table(path)
            else:
                table = ipc.open_stream(file).read_all()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is neither an Arrow file nor an Arrow stream: {error}") from error
    if len(set(table.column_names)) != table.num_columns:
        raise DataError(f"{path}: two columns have the same name")
    return {name: _column(table.column(name)) for name in table.column_names}


def _column(column: Any) -> Array:
    if column.null_count:  # an integer column would come as floats
        return _objects(column.to_pylist())
    array: Array = column.to_numpy()
    if array.dtype.kind in "mM":
        return np.datetime_as_string(array) if array.dtype.kind == "M" else _objects([str(item) for item in array])
    return array


def _objects(items: list[Any]) -> Array:
    made = np.empty(len(items), object)
    made[:] = items
    return made
