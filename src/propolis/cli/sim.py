"""`propolis sim`: the job protocol in virtual time, with the parties that real nodes run."""

import click
import msgspec

from propolis.cli.fleet import JSON
from propolis.cli.show import emit, table
from propolis.runtime.ending import Exit
from propolis.simulator.scenario import Scenario, run

_DEFAULT = Scenario()
_UNITS = {
    "finished": "tasks",
    "makespan": "s, virtual",
    "steps": "events",
    "wall": "s, here",
    "killed": "nodes",
    "nodes_used": "nodes",
    "attempts": "task runs",
}


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value} {_UNITS[name]}" if name in _UNITS else str(value)


@click.command()
@click.option(
    "--nodes", type=click.IntRange(1, 100_000), default=_DEFAULT.nodes, show_default=True, help="Nodes in the fleet."
)
@click.option(
    "--tasks", type=click.IntRange(1, 1_000_000), default=_DEFAULT.tasks, show_default=True, help="Tasks of the job."
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 0.5),
    default=_DEFAULT.loss,
    show_default=True,
    help="Chance that a packet is lost.",
)
@click.option(
    "--kills", type=click.IntRange(0), default=_DEFAULT.kills, show_default=True, help="Nodes that die or vanish."
)
@click.option(
    "--orchestrator-kills",
    type=click.IntRange(0, 5),
    default=0,
    show_default=True,
    help="How often the orchestrator dies and starts again.",
)
@click.option("--seed", type=int, default=_DEFAULT.seed, show_default=True, help="Where all chance comes from.")
@JSON
def sim(as_json: bool, **options: int) -> int:
    """Simulate a job on a fleet with churn and loss; the same seed gives the same fingerprint."""
    summary = run(Scenario(**options))  # type: ignore[arg-type]
    rows = [(name.replace("_", " "), _shown(name, value)) for name, value in msgspec.to_builtins(summary).items()]
    emit(as_json, summary, table("", ("WHAT", "VALUE"), rows))
    return Exit.OK if summary.exactly_once else Exit.FAILED
