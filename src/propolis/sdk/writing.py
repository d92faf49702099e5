"""Results as files, whole or not at all: written beside the target and renamed over it, so no reader meets half of one."""

import contextlib
import csv
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; it becomes `path` when the block ends well, and nothing when it does not."""
    beside = path.with_name(f".{path.stem[:100]}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays as npz, safetensors, or columns of a CSV. Raises DataError where the format cannot hold them."""
    ready = {name: _ready(name, array) for name, array in arrays.items()}
    with replacing(path) as beside:
        try:
            match path.suffix.lower():
                case ".npz":
                    _npz(beside, ready)
                case ".safetensors":
                    from safetensors.numpy import save_file

                    for name, array in ready.items():
                        if array.dtype.kind in "SU":
                            raise ValueError(f"output {name!r:.100} is text")
                    save_file({name: np.ascontiguousarray(array) for name, array in ready.items()}, beside)
                case ".csv":
                    _csv(beside, ready)
                case other:
                    raise DataError(f"results are written as npz, safetensors or csv, not {other or 'without ending'}")
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, SafetensorError) as error:
            raise DataError(f"{path.suffix} cannot hold these results: {error}", hint="npz holds every kind") from error


def _ready(name: str, array: Any) -> Array:
    try:
        ready = np.asarray(array)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"output {name!r:.100} is no array: {error}"[:300], hint="rows of one length join") from error
    if ready.dtype.hasobject:
        raise DataError(f"output {name!r:.100} holds Python objects; only numbers, booleans and text are written")
    return ready


def _npz(path: Path, arrays: dict[str, Array]) -> None:
    """Write what np.savez writes, whatever the names: there `file` and `allow_pickle` would be its own options."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            if "\0" in name:
                raise ValueError(f"output {name!r:.100}: a name in an archive has no zero byte")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _csv(path: Path, arrays: dict[str, Array]) -> None:
    if any(array.ndim == 0 for array in arrays.values()):
        arrays = {name: np.atleast_1d(array) for name, array in arrays.items()}
    if len({array.shape[:1] for array in arrays.values()}) > 1:
        raise ValueError("outputs of different length")
    blocks = {name: array.reshape(len(array), -1) for name, array in arrays.items()}
    header = [
        f"{name}{number if block.shape[1] > 1 else ''}"
        for name, block in blocks.items()
        for number in range(block.shape[1])
    ]
    columns = (column.tolist() for block in blocks.values() for column in block.T)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
