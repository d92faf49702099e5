"""`propolis sim`: the job protocol in virtual time, with the parties that real nodes run."""

import click
import msgspec

from propolis.cli.fleet import JSON
from propolis.cli.show import emit, table
from propolis.runtime.ending import Exit
from propolis.simulator.scenario import Scenario, run

_DEFAULT = Scenario()


@click.command()
@click.option("--nodes", type=click.IntRange(1, 100_000), default=_DEFAULT.nodes, show_default=True)
@click.option("--tasks", type=click.IntRange(1, 1_000_000), default=_DEFAULT.tasks, show_default=True)
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
@click.option("--orchestrator-kills", type=click.IntRange(0, 5), default=0, show_default=True)
@click.option("--seed", type=int, default=_DEFAULT.seed, show_default=True)
@JSON
def sim(as_json: bool, **options: int) -> int:
    """Simulate a job on a fleet with churn and loss; the same seed gives the same fingerprint."""
    summary = run(Scenario(**options))  # type: ignore[arg-type]
    rows = [(name, value) for name, value in msgspec.to_builtins(summary).items()]
    emit(as_json, summary, table("", ("WHAT", "VALUE"), rows))
    return Exit.OK if summary.exactly_once else Exit.FAILED
