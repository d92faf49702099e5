"""What strangers name reaches the terminal as text: no control characters, no markup, one line per row."""

import asyncio
import io
import logging
import sys

import pytest
from rich.console import Console

from propolis.cli import show
from propolis.cli.show import SafeConsole, table
from propolis.messages.membership import Role, TurnedAway
from propolis.owner import keeper
from propolis.protocols.membership.member import Barred, Member
from propolis.runtime import ending
from propolis.runtime.config import OneLine
from propolis.terms.contact import Contact
from propolis.terms.errors import InvitationRefused
from propolis.terms.text import clean, one_line

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


def test_what_nobody_sees_is_shown():
    """Names that differ by a character without width or ink, a direction of Arabic's own, tags."""
    for hidden in "\u200b\ufeff\u2060\u00ad\u061c\U000e0041":
        assert clean(f"hub{hidden}") == f"hub{ascii(hidden)[1:-1]}".replace("xad", "u00ad")
        assert hidden not in clean(f"hub{hidden}")
    joined = "👩\u200d💻 नमस्\u200dते"  # how these are written
    assert clean(joined) == joined


def test_a_log_line_stays_one_line():
    record = logging.LogRecord("p", logging.ERROR, __file__, 1, "turned away: %s", ("x\nERROR forged\x1b[2J",), None)
    text = OneLine("%(levelname)s %(message)s").format(record)
    assert text == "ERROR turned away: x\\x0aERROR forged\\x1b[2J"


STEER = "\x1b]0;owned\x07\x1b[2J\x1b[31mrun: rm -rf\x1b[0m\x9b2J\u202e\nerror forged: line"


def obeyed(text):
    return {c for c in text if c != "\n" and not c.isprintable()}


def test_why_a_node_was_turned_away_steers_no_terminal_and_begins_no_line(capsys):
    member = Member(Contact(peer=b"o" * 32, addresses=()), Role.NODE, b"t" * 16, None)
    member.tick(0.0)
    member.opened(0.0)
    barred = member.answered(TurnedAway(code="x", reason=STEER))
    assert isinstance(barred, Barred)
    ending.say(InvitationRefused(barred.reason))  # what node/__main__ and orchestrator/__main__ end with
    told = capsys.readouterr().err
    assert not obeyed(told)
    assert "\\x1b]0;owned\\x07\\x1b[2J" in told
    assert "\nerror forged" not in told


def test_an_error_says_a_strangers_words_as_text_wherever_it_is_printed():
    assert not obeyed(str(InvitationRefused(STEER)))
    assert not obeyed(InvitationRefused(STEER).explain())


def test_a_log_keeps_a_strangers_words_to_one_line_and_as_text():
    for text in (
        one_line(STEER),
        OneLine("%(message)s").format(logging.LogRecord("p", logging.ERROR, __file__, 1, "%s", (STEER,), None)),
    ):
        assert not obeyed(text)
        assert "\n" not in text
    try:
        raise ValueError(STEER)
    except ValueError:
        record = logging.LogRecord("p", logging.ERROR, __file__, 1, "died", (), sys.exc_info())
    assert not obeyed(OneLine("%(message)s").format(record))


async def test_the_keepers_log_keeps_a_strangers_words_to_one_line(monkeypatch, tmp_path, capsys):
    class Away:
        def __init__(self, home):
            pass

        async def open(self, seconds):
            raise InvitationRefused(STEER)

        async def close(self):
            pass

    async def stop(seconds):
        raise asyncio.CancelledError

    monkeypatch.setattr(keeper, "Sharing", Away)
    monkeypatch.setattr(keeper.asyncio, "sleep", stop)
    with pytest.raises(asyncio.CancelledError):
        await keeper.keep(tmp_path)
    told = capsys.readouterr().err
    assert not obeyed(told)
    assert told.count("\n") == 1


def test_a_table_on_a_narrow_terminal_is_a_block_per_row(monkeypatch):
    """Columns of a letter or two cannot be read."""
    monkeypatch.setattr(show.console, "width", 40)
    out = io.StringIO()
    Console(file=out, width=40).print(
        show.table("", ("NODE", "NAME", "ADDRESS"), [("1a6b29ac", "node-2", "127.0.0.1:44963")])
    )
    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["NODE", "1a6b29ac"], ["NAME", "node-2"], ["ADDRESS", "127.0.0.1:44963"], [],
    ]  # fmt: skip


def test_in_80_columns_no_address_key_or_heading_is_broken(monkeypatch):
    monkeypatch.setattr(show.console, "width", 80)
    columns = ("NODE", "NAME", "STATE", "BUSY", "SPEED", "MB", "ISOLATION", "PROVEN", "ADDRESS")
    row = (
        "36d2fd46",
        "node-2",
        "up",
        "0/2",
        "94.9",
        "2048",
        "namespaces",
        "EMULATED tpm, measured boot",
        "127.0.0.1:54725",
    )
    out = io.StringIO()
    Console(file=out, width=80).print(show.table("", columns, [row]))
    words = out.getvalue().split()
    assert {*columns, *row[:7], "EMULATED", "measured", row[8]} <= set(words)
    assert max(map(len, out.getvalue().splitlines())) <= 80
