"""How a machine's outlook is told: tables for people, one record for programs. Detected, usable, proven; what from whom."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from propolis.cli.show import console, table
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.outlook import Cell, Line, Outlook
from propolis.terms.finding import Fact, State
from propolis.terms.requirement import Adversary, Asset, Level
from propolis.terms.text import clean

LEVELS = {Level.NONE: "-", Level.EMPIRICAL: "tested", Level.HARDWARE: "chip", Level.PROOF: "proof"}
WHO = {
    Adversary.NETWORK: "the network",
    Adversary.CO_TENANT: "other jobs",
    Adversary.MALWARE: "malware",
    Adversary.LENDER: "its owner",
    Adversary.CHEAP_PHYSICAL: "owner, tools",
    Adversary.LABORATORY: "lab",
    Adversary.THIEF: "thief",
}
SELF_TOLD = "Detected is not proven: all of this is this machine's word, worth nothing against its own owner."
HOSTS_WORD = "This is, or may be, a virtual machine: what it detects is its host's word."


def levels_table(outlook: Outlook) -> Table:
    """Return what holds now, every asset against every adversary."""
    columns = ("PROTECTED NOW FROM", *(f"{who.label} {words}" for who, words in WHO.items()))
    return table("", columns, [
        (asset.value.replace("-", " "), *(LEVELS[outlook.level(asset, who)] for who in Adversary)) for asset in Asset
    ])  # fmt: skip


def technologies_table(outlook: Outlook) -> Group:
    """Return the technologies that are here, and below them those that are not or may be."""
    shown = [line for line in outlook.lines if found(line)]
    columns = ("TECHNOLOGY", "DETECTED", "PROVEN", "PROTECTS WHAT FROM WHOM", "WOULD RAISE IT")
    made = table("", columns, [
        (line.title, detected(line), proven(line), "; ".join(protects(line)) or "nothing", line.raises)
        for line in shown
    ])  # fmt: skip
    rest = [(words, [each for each in outlook.lines if each.state is state and each.technology not in UNSEEN])
            for words, state in (("not here", State.ABSENT), ("unknown", State.UNKNOWN))]  # fmt: skip
    told = [f"{words}: {', '.join(line.title for line in lines)}" for words, lines in rest if lines]
    return Group(made, *(Text(console.fit(clean(line)), style="dim") for line in told))


UNSEEN = ("process", "masking", "pkvm")  # nothing on a machine shows them
OURS = ("sealing",)


def found(line: Line) -> bool:
    """Return whether a technology is here at all."""
    return line.state not in (State.ABSENT, State.UNKNOWN)


def detected(line: Line) -> str:
    """Return how far a technology is detected."""
    if line.technology in OURS:
        return "part of propolis"
    return f"{line.state}{f': {line.value}' if line.value else ''}"


def proven(line: Line) -> str:
    """Return what is proven of a technology; of an emulated TPM it says so first, and no level follows."""
    claims = ", ".join(line.proven)
    return (f"EMULATED, counts for nothing: {claims}" if line.emulated else claims) or "nothing"


def protects(line: Line) -> list[str]:
    """Return what a technology protects from whom: now, if it was proven, and in part."""
    said = [f"now: {pairs(line.gives)}"] if line.gives else []
    more = [
        cell for cell in line.could if (cell.asset, cell.adversary) not in {(c.asset, c.adversary) for c in line.gives}
    ]
    said += [f"{'if reached' if line.technology == 'sandbox' else 'if proven'}: {pairs(more)}"] if more else []
    said += [f"nothing: {line.spoilt}"] if line.spoilt else []
    for degree, words in (("partly", "in part"), ("unbuilt", "once built")):
        cells = [
            Cell(asset=a, adversary=b, level=Level.NONE)
            for note in line.partly
            for a in note.assets
            for b in note.against
            if note.degree == degree and not line.spoilt
        ]
        said += [f"{words}: {pairs(cells)}"] if cells else []
    return said


def pairs(cells: Iterable[Cell]) -> str:
    """Return assets with their adversaries, those with the same adversaries together."""
    against: dict[Asset, list[Adversary]] = {}
    for cell in cells:
        against.setdefault(cell.asset, []).append(cell.adversary)
    alike: dict[tuple[Adversary, ...], list[str]] = {}
    for asset, who in against.items():
        alike.setdefault(tuple(sorted(who)), []).append(asset.value.replace("-", " "))
    return ", and ".join(f"{', '.join(assets)} from {_span(who)}" for who, assets in alike.items())


def _span(who: tuple[Adversary, ...]) -> str:
    if len(who) > 2 and who[-1] - who[0] == len(who) - 1:
        return f"{who[0].label} to {who[-1].label}"
    return " and ".join(each.label for each in who)


def facts_table(facts: Sequence[Fact]) -> Table:
    """Return every fact: what, how far, how it was found, what would add to it."""
    columns = ("FACT", "STATE", "VALUE", "HOW IT WAS FOUND", "WOULD ADD")
    return table("", columns, [(CATALOGUE[f.name], f.state, f.value, f.how, f.more) for f in facts])


def contradictions(outlook: Outlook) -> str:
    """Return what this machine says that cannot all be true."""
    return "\n".join(
        f"contradiction: {each.says} ({', '.join(each.facts)} not believed)" for each in outlook.contradictions
    )


def record(outlook: Outlook, rows: list[dict[str, str]]) -> dict[str, Any]:
    """Return all of it for programs."""
    return {
        "date": outlook.date,
        "summary": rows,
        "proven": [
            {"technology": line.technology, "claims": line.proven, "emulated": line.emulated}
            for line in outlook.lines
            if line.proven
        ],
        "guarantees": outlook.now,
        "technologies": outlook.lines,
        "facts": outlook.facts,
        "contradictions": outlook.contradictions,
        "virtual": outlook.guest,
        "note": SELF_TOLD,
    }
