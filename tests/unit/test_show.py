"""What strangers name reaches the terminal as text: no control characters, no markup, one line per row."""

import io
import logging

from rich.console import Console

from propolis.cli.show import SafeConsole, clean, table
from propolis.runtime.config import OneLine

EVIL = "\x1b[31mred\x1b[0m [bold]loud[/bold]\r\nforged\u202eright"


def test_control_characters_are_shown_not_obeyed():
    out = io.StringIO()
    SafeConsole(file=out, width=200).print(EVIL)
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
    assert "\\x1b[31mred" in out.getvalue()
    assert "[bold]loud[/bold]" in out.getvalue()


def test_a_cell_is_one_line_of_text():
    out = io.StringIO()
    Console(file=out, width=200).print(table("", ("NAME",), [(EVIL,), ("[/] unbalanced [markup",)]))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in out.getvalue()
    assert "[/] unbalanced [markup" in lines[2]


def test_plain_text_is_untouched():
    assert clean("Größe 3 → 4\n\tdone ✓") == "Größe 3 → 4\n\tdone ✓"


def test_a_log_line_stays_one_line():
    record = logging.LogRecord("p", logging.ERROR, __file__, 1, "turned away: %s", ("x\nERROR forged\x1b[2J",), None)
    text = OneLine("%(levelname)s %(message)s").format(record)
    assert text == "ERROR turned away: x\\x0aERROR forged\\x1b[2J"
