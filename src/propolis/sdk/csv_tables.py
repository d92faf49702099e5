"""CSV as columns of numbers: integers stay integers, and whatever is off is named by column and line.

A first line with a cell that is no number names the columns. Cells hold numbers; text goes as JSON lines or Arrow.
"""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.terms.errors import DataError

Array = npt.NDArray[Any]
Row = tuple[int, list[str]]  # the line it ends at, and its cells

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_LONGEST = 15  # characters of an integer that any 64-bit number keeps, a float too


def read(path: Path) -> tuple[dict[str, Array], bool]:
    """Return columns by name, and whether the file names them (else they are "1", "2", ...). Raises DataError."""
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} is empty")
    named = any(cell and not _NUMBER.fullmatch(cell) for cell in rows[0][1])
    names = rows.pop(0)[1] if named else [str(number) for number in range(1, len(rows[0][1]) + 1)]
    _same_length(path, names, rows)
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}")
    lines = [line for line, _ in rows]
    return {name: _column(path, name, lines, [row[n] for _, row in rows]) for n, name in enumerate(names)}, named


def _rows(path: Path) -> list[Row]:
    with path.open("rb") as raw:
        start = raw.read(2)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path} is UTF-16; CSV is read as UTF-8", hint="save it as 'CSV UTF-8'")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except UnicodeDecodeError as error:
        hint = "save it as 'CSV UTF-8'; it may be Latin-1 or Windows-1252 now"
        raise DataError(f"{path} is not UTF-8 (byte {error.start})", hint=hint) from error
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from error


def _same_length(path: Path, names: list[str], rows: list[Row]) -> None:
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise DataError(
            f"{path} separates its cells by semicolons or tabs", hint="save it with commas, and 1.5 for decimals"
        )
    if not rows:
        raise DataError(f"{path} has a header and no rows")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"{path}: line {line} has {len(row)} cells, the first has {len(names)}; rows of one length are wanted"
            )


def _column(path: Path, name: str, lines: list[int], cells: list[str]) -> Array:
    for line, cell in zip(lines, cells, strict=True):
        if not _NUMBER.fullmatch(cell):
            raise _bad_cell(path, name, line, cell)
    whole = [_INTEGER.fullmatch(cell) is not None for cell in cells]
    for line, cell, integer in zip(lines, cells, whole, strict=True):
        if integer and len(cell) > _LONGEST and not _kept(int(cell), all(whole)):
            raise DataError(
                f"{path}: {cell[:40]} in column {name!r}, line {line} does not fit a 64-bit number unchanged",
                hint="write it with an exponent, like 1.23e29, if a rounded one will do",
            )
    return np.array([int(cell) for cell in cells], np.int64) if all(whole) else np.array(cells, np.float64)


def _kept(value: int, among_integers: bool) -> bool:
    """Return whether the value stays what it is in its column's type."""
    return -(2**63) <= value < 2**63 if among_integers else float(value) == value


def _bad_cell(path: Path, name: str, line: int, cell: str) -> DataError:
    where = f"column {name!r}, line {line}"
    if not cell:
        return DataError(
            f"{path}: the cell in {where} is empty", hint="fill it, drop the row, or write nan if the model takes it"
        )
    hint = "write decimals with a point" if re.fullmatch(r"[0-9]+,[0-9]+", cell) else "text goes as JSON lines or Arrow"
    return DataError(f"{path}: {cell[:40]!r} in {where} is not a number", hint=hint)
