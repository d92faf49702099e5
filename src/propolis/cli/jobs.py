"""Commands about jobs that are there already: jobs, explain, logs, stop."""

from pathlib import Path

import click
from rich.text import Text

from propolis.cli.fleet import JSON, connected
from propolis.cli.rows import grantees_table, jobs_table, meant, verdicts_table
from propolis.cli.running import record, way_out
from propolis.cli.show import console, emit
from propolis.messages.rows import JobRow
from propolis.owner.live import ENDED
from propolis.terms.text import clean

RECENT = 10


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help=f"Also those that ended before the last {RECENT}.")
@JSON
@click.pass_obj
def jobs(home: Path, every: bool, as_json: bool) -> None:
    """List your jobs: those that have not ended and the last that did. With --json all of them."""
    with connected(home) as fleet:
        rows = fleet.jobs()
    shown = rows if every else recent(rows)
    older = len(rows) - len(shown)
    emit(as_json, rows, jobs_table(shown), f"{older} older ones: propolis jobs --all" if older else "")


def recent(rows: list[JobRow]) -> list[JobRow]:
    """Return the jobs that have not ended and the last ones that did, in the order they came."""
    ended = [row.job for row in rows if row.state in ENDED]
    old = set(ended[:-RECENT])
    return [row for row in rows if row.job not in old]


@click.command()
@click.argument("job")
@JSON
@click.pass_obj
def explain(home: Path, job: str, as_json: bool) -> None:
    """Say which nodes run or refuse a job, and why; and which guests got its key."""
    with connected(home) as fleet:
        found = fleet.explain(job)
    emit(as_json, found, jobs_table([found.job]))
    if not as_json:
        console.print(verdicts_table(found.verdicts))
        if found.granted:
            console.print(grantees_table(found.granted, found.verdicts))
        for line in (*meant(found.verdicts), *found.events):
            console.print(line)
        if found.job.state == "pending" and "none of" in found.job.reason:
            console.print(f"  → {way_out(found.job.job.hex(), found.job.reason)}")


@click.command()
@click.argument("job")
@JSON
@click.pass_obj
def logs(home: Path, job: str, as_json: bool) -> None:
    """Show what a job's tasks printed and raised; opened here, never seen by the fleet."""
    with connected(home) as fleet:
        lines = fleet.job(job).logs()
    emit(as_json, [{"task": index, "text": text} for index, text in lines])
    if not as_json:
        for index, text in lines:
            for line in text.rstrip().splitlines():
                console.print(Text(clean(f"{index:>6} | {line}")))  # the task's own lines, not folded


@click.command()
@click.argument("job")
@JSON
@click.pass_obj
def stop(home: Path, job: str, as_json: bool) -> None:
    """End a job; finished results stay."""
    with connected(home) as fleet:
        found = fleet.job(job)
        fleet.stop(found.id)
        found.wait(timeout=5.0)
        emit(as_json, record(found), text=f"job {found.id[:8]} ({found.name}) {found.state()}")


COMMANDS = (jobs, explain, logs, stop)
