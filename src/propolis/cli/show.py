"""How the CLI speaks: tables for people, JSON for programs, one exit code per kind of end."""

import contextlib
import json
import logging
import sys
from collections.abc import Sequence
from enum import IntEnum
from textwrap import TextWrapper
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from propolis.terms.text import clean

NARROW = 60  # columns of a terminal below which a table's cells would stand on end
WORD = 21  # characters of the longest word that is never broken: an IPv4 address and port


class SafeConsole(Console):
    """Prints strings as they are: no control characters, and markup only where `markup=True` asks for it.

    Sentences end at the terminal's edge; words are never broken, so an invitation stays one word to copy.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print."""
        options.setdefault("markup", False)
        super().print(*[self.fit(clean(o)) if isinstance(o, str) else o for o in objects], **options)

    def fit(self, text: str) -> str:
        """Return the text with its lines broken where the terminal ends."""
        if not self.is_terminal:
            return text  # a file or a pipe: its reader finds a sentence in one piece
        return "\n".join(folded(line, self.width) for line in text.split("\n"))


def folded(line: str, width: int) -> str:
    """Return a line broken between words, what follows a little further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    fold = TextWrapper(width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return line if len(line) <= width else fold.fill(line)


class Said(logging.Handler):
    """Shows warnings to the person at the keyboard, as lines that are what they say."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        errors.print(f"{record.levelname.lower()}: {self.format(record)}")


console = SafeConsole(stderr=False, highlight=False, soft_wrap=True)
errors = SafeConsole(stderr=True, highlight=False, soft_wrap=True)


def busy(text: str) -> contextlib.AbstractContextManager[object]:
    """Return a context in which a terminal shows that we work, and at what; nothing elsewhere."""
    return errors.status(text) if errors.is_terminal else contextlib.nullcontext()


def emit(as_json: bool, record: Any, table: RenderableType | None = None, text: str = "") -> None:
    """Print a record as JSON, or the table and text for people."""
    if as_json:
        sys.stdout.write(json.dumps(_plain(record), indent=2) + "\n")
        return
    if table is not None:
        console.print(table)
    if text:
        console.print(text)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table."""
    if console.width < NARROW and len(columns) > 2:
        return _stacked(title, columns, rows)
    cells = [[clean(str(cell)).replace("\n", " ") for cell in row] for row in rows]
    texts = [[column, *(row[index] for row in cells)] for index, column in enumerate(columns)]
    wide = sum(max(map(len, column)) + 2 for column in texts) > console.width + 2
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    made.show_header, made.collapse_padding = any(columns), wide
    for column in texts:
        made.add_column(column[0], overflow="fold", no_wrap=wide and all(map(_word, column)))
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def fits(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether a table of these rows, its header one of them, fits the terminal with no cell folded."""
    return (
        console.width < NARROW
        or sum(max(map(len, column)) + 1 for column in zip(*rows, strict=True)) <= console.width + 1
    )


def _word(cell: str) -> bool:
    """Return whether a cell reads badly when it is broken: an address, a key's beginning, a number."""
    return " " not in cell and len(cell) <= WORD


def _stacked(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return the rows as blocks, a line for each cell."""
    made = Table(title=title or None, title_justify="left", show_header=False, box=None, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            made.add_row(column, Text(clean(str(cell)).replace("\n", " ")))
        made.add_row("", "")
    return made
