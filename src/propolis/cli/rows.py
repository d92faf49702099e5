"""How the fleet's rows look as tables."""

from rich.table import Table

from propolis.cli.show import table
from propolis.messages.jobs import JobRow, NodeRow
from propolis.terms.identity import short


def nodes_table(rows: list[NodeRow]) -> Table:
    """Return the table of nodes."""
    columns = ("NODE", "NAME", "STATE", "BUSY", "SPEED", "MEMORY", "ISOLATION (self-told)", "PROVEN", "ADDRESS")
    return table("", columns, [
        (
            short(row.node), row.report.name, row.state, f"{row.busy}/{row.report.slots}", f"{row.report.speed:.0f}",
            f"{row.report.memory_mb} MB", row.report.isolation.rung.name.lower(), "nothing", row.address,
        )
        for row in rows
    ])  # fmt: skip


def jobs_table(rows: list[JobRow]) -> Table:
    """Return the table of jobs."""
    columns = ("JOB", "NAME", "KIND", "STATE", "PRIVACY", "TASKS", "FAILED", "AGE", "REASON")
    return table("", columns, [
        (
            row.job[:4].hex(), row.name, row.kind, row.state, row.privacy, f"{row.finished}/{row.tasks}", row.failed,
            f"{row.age:.0f} s", row.reason[:80],
        )
        for row in rows
    ])  # fmt: skip
