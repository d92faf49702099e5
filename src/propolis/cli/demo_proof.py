"""`propolis demo-proof`: machines prove what they booted, one is caught, one has nothing to show; a job goes where it may.

The TPMs are emulated: this rehearses the protocol, and says so in every line. Nothing here is a hardware root.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from propolis.cli.fleet import JSON
from propolis.cli.rows import grantees_table, nodes_table, verdicts_table
from propolis.cli.show import console, emit
from propolis.messages.rows import NodeRow
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet, Job
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.sdk.rehearsal import IMAGE, Boot, Rehearsal

GOOD, TAMPERED, PLAIN = ("anna", "ben"), "carl", "dora"
TASKS = 200
PRIVACY = "measured"
WORK = "def score(values):\n    return sum(value * value for value in values)\n"
LONGEST = 60.0


@click.command("demo-proof")
@JSON
def demo_proof(as_json: bool) -> int:
    """Watch a job that demands measured boot wait, then run only on machines that proved it (emulated TPMs)."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="propolis-proof-") as folder:
        home = Path(folder)
        chips = Rehearsal(home, {TAMPERED: Boot(image="something else", logged=IMAGE), PLAIN: None})
        fleet = LocalFleet(home, [NodeLimits(name=name) for name in (*GOOD, TAMPERED, PLAIN)], rehearsal=chips)
        with console.status("starting an orchestrator and four machines, three with an emulated TPM of their own"):
            fleet.start()
        try:
            report = _run(fleet, home, as_json)
        finally:
            fleet.stop()
    report["seconds"] = round(time.monotonic() - started, 1)
    target = Path("build")
    target.mkdir(exist_ok=True)
    (target / "demo-proof.json").write_text(json.dumps(report, indent=2) + "\n")
    good = (
        report["verified"]
        and report["tasks_on_proven"] == TASKS
        and not report["tasks_elsewhere"]
        and report["unproven"] == 1
        and report["pending_reason"]
        and report["refused"] == 1
        and report["proven"] == len(GOOD)
    )
    word = "the job ran on the machines that proved themselves, and on no other" if good else "NOT as it should be"
    emit(as_json, report, text=f"\n{word} ({report['seconds']} s, build/demo-proof.json). EMULATED TPMs: a rehearsal.")
    return Exit.OK if good else Exit.FAILED


def _run(fleet: LocalFleet, home: Path, as_json: bool) -> dict[str, Any]:
    inputs = [[n, n + 1, n + 2] for n in range(TASKS)]
    with Fleet(home) as owner:
        job = owner.submit_map(WORK, inputs, entry="score", privacy=PRIVACY, name="scores")
        job.wait(timeout=2.0)
        waiting = job.reason()
        if not as_json:
            console.print(nodes_table(owner.nodes()))
            console.print(f"\na job with --privacy {PRIVACY} waits: {waiting}")
            console.print(
                "\nthe operator signs a policy for a rehearsal: emulated TPMs of one test root, one known image\n"
            )
    fleet.rehearse()
    with Fleet(home) as owner:
        job = owner.job(job.id)
        state = job.wait(timeout=LONGEST)
        rows = owner.nodes()
        if not as_json:
            _tell(owner, job, rows)
        return _report(job, rows, state, waiting, [sum(v * v for v in each) for each in inputs])


def _tell(owner: Fleet, job: Job, rows: list[NodeRow]) -> None:
    explained = owner.explain(job.id)
    console.print(nodes_table(rows))
    console.print(verdicts_table(explained.verdicts))
    console.print(grantees_table(explained.granted, explained.verdicts))


def _report(job: Job, rows: list[NodeRow], state: str, waiting: str, wanted: list[int]) -> dict[str, Any]:
    proven = {row.node for row in rows if row.proven}
    ran = [item.node for item in job.ran()]
    return {
        "proven": len(proven),
        "refused": sum(bool(row.unproven) for row in rows),
        "unproven": sum(not row.proven and not row.unproven for row in rows),
        "emulated": sum(any(each.emulated for each in row.proven) for row in rows),
        "tasks_on_proven": sum(node in proven for node in ran),
        "tasks_elsewhere": sum(node not in proven for node in ran),
        "pending_reason": waiting,
        "refused_because": next((row.unproven for row in rows if row.unproven), ""),
        "privacy": PRIVACY,
        "state": state,
        "verified": state == "done" and job.values() == wanted,
    }
