"""How the fleet's rows look: tables that fit 80 columns, long reasons below them. What is proven says who concluded it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from propolis.cli.show import console, fits, table
from propolis.decisions.appraisal import telling
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.messages.rows import JobRow, NodeRow, Verdict
from propolis.sdk.grantees import Grantee
from propolis.terms.capability import Detected
from propolis.terms.identity import short
from propolis.terms.requirement import Adversary
from propolis.terms.text import clean, one_line

GRANTEES = 20
KINDS = 12  # of reasons why nothing is proven
NAMES = 8  # of nodes that share one
KNOWN_IMAGE = (
    "known-image: everything it booted is in the policy. propolis attest --out FILE over there says what was loaded; "
    "the operator adds each: propolis fleet policy image add DIGEST --name NAME"
)
_WHO = {
    Adversary.NETWORK: "whoever is on the path, the orchestrator too",
    Adversary.CO_TENANT: "another job on the same machine",
    Adversary.MALWARE: "an intruder with root on an honest owner's machine",
    Adversary.LENDER: "the machine's owner, who has root",
    Adversary.CHEAP_PHYSICAL: "the owner with a soldering iron",
    Adversary.LABORATORY: "the owner with a laboratory",
    Adversary.THIEF: "whoever took the machine switched off, or its disk",
}


def nodes_table(rows: list[NodeRow]) -> Group:
    """Return the table of nodes, and below it why some prove nothing and what each says it has."""
    columns = ("NODE", "NAME", "STATE", "BUSY", "SPEED", "MB", "ISOLATION", "PROVEN", "ADDRESS")
    cells = [
        (
            short(row.node), row.report.name, row.state, f"{row.busy}/{row.report.slots}", f"{row.report.speed:.1f}",
            str(row.report.memory_mb), row.report.isolation.rung.name.lower(),
            telling.proven_words(row.proven), row.address,
        )
        for row in rows
    ]  # fmt: skip
    narrow = any(row.proven for row in rows) and not fits((columns, *cells))
    made = table("", columns[:-1], [row[:-1] for row in cells]) if narrow else table("", columns, cells)
    made.caption, made.caption_justify = f"{OWN_WORD}{'; addresses: --json' if narrow else ''}", "left"
    return Group(made, *(Text(console.fit(clean(line)), style="dim") for line in (*unproven(rows), *says(rows))))


OWN_WORD = (
    "speed, memory and isolation are each machine's own word; proven is what the orchestrator says it verified: its word, "
    "owners verify by themselves before a key leaves"
)


def unproven(rows: list[NodeRow]) -> list[str]:
    """Return why nothing is proven of some nodes, a line for each reason, its code first, and who can do what about it."""
    alike: dict[str, list[str]] = {}
    for row in rows:
        if not row.proven and row.state != "down":
            reason = row.unproven or (telling.ASKED if row.report.shows else telling.NO_EVIDENCE)
            alike.setdefault(reason, []).append(row.report.name)
    lines = [_unproven(reason, names) for reason, names in list(alike.items())[:KINDS]]
    more = len(alike) - KINDS
    return lines if more <= 0 else [*lines, f"{more} more reasons: propolis nodes --json"]


def _unproven(reason: str, names: list[str]) -> str:
    code, _, text = reason.partition(":")
    more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return one_line(f"{code}: {', '.join(names[:NAMES])}{more}: {text.strip()} → {telling.way(reason)}")


def says(rows: list[NodeRow]) -> list[str]:
    """Return what nodes say they found on themselves; those that say the same share a line."""
    alike: dict[tuple[Detected, ...], list[str]] = {}
    for row in rows:
        alike.setdefault(row.report.found, []).append(row.report.name)
    return [
        f"{', '.join(names)} says, and proves nothing of it: {', '.join(f'{_called(n)} {state}' for n, state in found)}"
        for found, names in alike.items()
        if found
    ]


def _called(name: str) -> str:
    """Return what people call a fact; a node of another version may tell one we have no word for."""
    return CATALOGUE.get(name, name)


def jobs_table(rows: list[JobRow]) -> Group:
    """Return the table of jobs, and below it why some wait or failed."""
    columns = ("JOB", "NAME", "KIND", "STATE", "PRIVACY", "TASKS", "AGE")
    made = table("", columns, [
        (
            row.job[:4].hex(), row.name, row.kind, row.state, row.privacy,
            f"{row.finished}/{row.tasks}{f', {row.failed} failed' if row.failed else ''}", _age(row.age),
        )
        for row in rows
    ])  # fmt: skip
    reasons = [
        Text(console.fit(clean(f"{row.job[:4].hex()} {row.state}: {row.reason}")), style="dim")
        for row in rows
        if row.reason
    ]
    return Group(made, *reasons)


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    """Return who may run a job and who not; nodes with the same reasons share a line."""
    alike: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for verdict in verdicts:
        alike.setdefault((verdict.admitted, verdict.reasons), []).append(verdict.name or short(verdict.node))
    rows = [
        (", ".join(names), "may run it" if admitted else "refused", "; ".join(reasons))
        for (admitted, reasons), names in alike.items()
    ]
    return table("", ("NODES", "VERDICT", "WHY"), rows)


def grantees_table(granted: Sequence[Grantee], verdicts: Sequence[Verdict]) -> Table:
    """Return the last guests that got a job's key. When, whom and by which invitation is ours; the rest is the node's word."""
    names = {verdict.node: verdict.name for verdict in verdicts}
    claims = any(map(_claims, granted[-GRANTEES:]))  # a column that says nothing takes the room of what was proven
    rows = [
        (
            f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M:%S}", names.get(one.node, ""), short(one.node),
            short(one.invitation), one.isolation.rung.name.lower(), *([_claims(one) or "nothing"] if claims else []),
            telling.proven_words(one.proven),
            short(one.receipt),
        )
        for one in granted[-GRANTEES:]
    ]  # fmt: skip
    said = ("CLAIMS",) if claims else ()
    made = table("", ("KEY GIVEN (UTC)", "TO", "NODE", "INVITATION", "ISOLATION", *said, "PROVEN", "RECEIPT"), rows)
    operator = short(granted[-1].invited_by)
    older = f"; {len(granted) - GRANTEES} earlier ones: --json" if len(granted) > GRANTEES else ""
    words = (
        f"isolation{' and claims are' if claims else ' is'} each node's own word, signed; proven is what you verified"
    )
    made.caption = f"invited by {operator}; {words}{older}"
    made.caption_justify = "left"
    return made


def _claims(one: Grantee) -> str:
    cost = "" if one.offer.cost is None else f"{one.offer.cost:g}/h"
    return ", ".join(word for word in (one.offer.region, cost) if word)


def meant(verdicts: Sequence[Verdict]) -> list[str]:
    """Return who is meant by the short names in the reasons, and what makes an image a known one."""
    said = " ".join(reason for verdict in verdicts for reason in verdict.reasons)
    who = [f"{who.label}: {words}" for who, words in _WHO.items() if f"{who.label} " in said]
    return [*who, KNOWN_IMAGE] if "known-image" in said else who


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
