"""How the fleet's rows look: tables that fit 80 columns, long reasons below them."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from propolis.cli.show import clean, table
from propolis.messages.jobs import JobRow, NodeRow
from propolis.terms.identity import short


def nodes_table(rows: list[NodeRow]) -> Table:
    """Return the table of nodes. All of it is what the machines say of themselves."""
    columns = ("NODE", "NAME", "STATE", "BUSY", "SPEED", "MB", "ISOLATION", "PROVEN", "ADDRESS")
    made = table("", columns, [
        (
            short(row.node), row.report.name, row.state, f"{row.busy}/{row.report.slots}", f"{row.report.speed:.1f}",
            row.report.memory_mb, row.report.isolation.rung.name.lower(), "nothing", row.address,
        )
        for row in rows
    ])  # fmt: skip
    made.caption, made.caption_justify = "speed, memory and isolation are each machine's own word", "left"
    return made


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
    reasons = [Text(clean(f"{row.job[:4].hex()} {row.state}: {row.reason}"), style="dim") for row in rows if row.reason]
    return Group(made, *reasons)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
