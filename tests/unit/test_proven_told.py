"""What is proven is told in few letters, by whom it was concluded, and what is emulated says so wherever it is told."""

import re
from pathlib import Path

import msgspec
import pytest

from propolis.cli import rows, show
from propolis.cli.rows import nodes_table, unproven
from propolis.cli.show import SafeConsole
from propolis.decisions.appraisal import telling
from propolis.messages.rows import NodeRow
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.evidence import NOTHING, Attested

DAY = "2026-12-01"
BOOTED = ("endorsed", "known-image", "lockdown", "resident-key", "secure-boot")
ERRORS = Path(__file__).parents[2] / "docs/reference/errors.md"


def attested(*technologies, claims=BOOTED, emulated=False):
    return tuple(Attested(technology=name, claims=claims, until=DAY, emulated=emulated) for name in technologies)


def row(name, proven=NOTHING, unproven="", *, shows=("tpm2-quote/1",), state="up"):
    report = CapabilityReport(
        name=name, system="linux", machine="x86_64", python="3.11", slots=1, memory_mb=1024, speed=1.0,
        isolation=Isolation(rung=Rung.NAMESPACES), shows=shows,
    )  # fmt: skip
    return NodeRow(
        node=name.encode().ljust(32), report=report, state=state, busy=0, address="", proven=proven, unproven=unproven
    )


def printed(shown):
    console = SafeConsole(width=250)
    with console.capture() as said:
        console.print(shown)
    return said.get()


@pytest.mark.parametrize(
    ("proven", "words"),
    [
        (NOTHING, "nothing"),
        (attested("tpm", "measured-boot"), "tpm, measured boot"),
        (attested("tpm", "measured-boot", claims=("approved", "resident-key")), "tpm (approved)"),
        (attested("vtpm", claims=("endorsed",)), "virtual tpm"),
        (attested("tpm", "measured-boot", emulated=True), "EMULATED tpm, measured boot"),
        (attested("tpm")[:1] + attested("measured-boot", emulated=True), "EMULATED tpm, measured boot"),
    ],
)
def test_what_is_proven_is_told_in_few_letters(proven, words):
    assert telling.proven_words(proven) == words


def test_what_is_proven_stands_in_one_line_of_eighty_columns_and_the_address_gives_way(monkeypatch):
    monkeypatch.setattr(rows, "console", SafeConsole(width=80))
    monkeypatch.setattr(show, "console", SafeConsole(width=80))
    proven = row("node-1", attested("tpm", "measured-boot", emulated=True))
    said = printed(nodes_table([msgspec.structs.replace(proven, address="127.0.0.1:48791")]))
    assert "EMULATED tpm, measured boot" in said
    assert "127.0.0.1" not in said
    assert "addresses: --json" in said


def test_the_table_says_whose_word_it_is_and_below_it_why_others_prove_nothing():
    pending = "pending: endorsement key 000b12 has no maker's certificate"
    said = printed(
        nodes_table([
            row("good", attested("tpm", "measured-boot")),
            row("one", unproven=pending),
            row("two", unproven=pending),
            row("mute", shows=()),
            row("fresh"),
            row("gone", unproven="silent: it did not answer", state="down"),
        ])
    )  # fmt: skip
    assert "PROVEN" in said
    assert "what the orchestrator says it verified: its word" in " ".join(said.split())
    (line,) = [line for line in said.splitlines() if line.startswith("pending: ")]
    assert "one, two" in line
    assert "propolis fleet policy approve NODE" in line
    assert [line.split(":")[1].strip() for line in said.splitlines() if line.startswith("software-key: ")] == ["mute"]
    assert [line.split(":")[1].strip() for line in said.splitlines() if line.startswith("asked: ")] == ["fresh"]
    assert "silent" not in said


def test_reasons_are_bounded_and_cannot_forge_a_line():
    lines = unproven([row(f"n{n}", unproven=f"odd{n}: text\nforged: \x1b[2J") for n in range(40)])
    assert len(lines) == rows.KINDS + 1
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    assert telling.UNKNOWN in lines[0]
    (one,) = unproven([row(f"n{n}", unproven="silent: no word") for n in range(40)])
    assert "and 32 more" in one


def test_the_page_of_errors_has_every_reason_that_a_way_is_told_for():
    told = set(re.findall(r"^\| ([a-z_-]+) \| ", ERRORS.read_text(), re.MULTILINE)) - {"code", "reason"}
    assert told == set(telling.WAYS)
