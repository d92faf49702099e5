"""`propolis demo`: a private inference job on a local fleet, one node killed on the way, every result checked."""

import csv
import json
import os
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from propolis.cli.fleet import JSON
from propolis.cli.rows import nodes_table
from propolis.cli.show import console, emit, table
from propolis.messages.rows import NodeRow
from propolis.protocols.link.terms import LinkConfig
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet, Job, models
from propolis.sdk.local import LocalFleet, varied

NODES = 4
ROUNDS = 300
"""The records are classified this many times over, in small tasks, so that there is something to watch and to kill."""

ROWS_PER_TASK = 45
PRIVACY = "trusted-lenders"
NOTICED = LinkConfig().dead


def records() -> npt.NDArray[np.float32]:
    """Return the 569 records of 30 measures (data/PROVENANCE.md)."""
    with (resources.files("propolis.cli") / "data" / "breast_cancer.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[:30] for row in rows], dtype=np.float32)


def model() -> bytes:
    """Return the classifier, as ONNX."""
    return (resources.files("propolis.cli") / "data" / "breast_cancer.onnx").read_bytes()


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(1, 10_000),
    default=ROUNDS,
    show_default=True,
    help="How often the records are classified.",
)
@JSON
def demo(rounds: int, as_json: bool) -> int:
    """Watch a private job run on four node processes while one of them is killed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="propolis-demo-") as folder:
        fleet = LocalFleet(Path(folder), varied(NODES))
        with console.status("starting an orchestrator and four nodes, each with a sandbox of its own"):
            fleet.start()
        try:
            with Fleet(folder) as owner:
                report = _job(fleet, owner, rounds, as_json)
        finally:
            fleet.stop()
    report["seconds"] = round(time.monotonic() - started, 1)
    _write(report)
    good = bool(report["verified"]) and report["killed"] == 1
    word = "every result is right" if good else "NOT every result is right"
    text = f"\n{word}: {report['tasks']} tasks, 1 node killed, {report['seconds']} s (build/demo.json)"
    emit(as_json, report, text=text)
    return Exit.OK if good else Exit.FAILED


def _job(fleet: LocalFleet, owner: Fleet, rounds: int, as_json: bool) -> dict[str, Any]:
    rows = owner.nodes()
    data = np.tile(records(), (rounds, 1))
    if not as_json:
        console.print(nodes_table(rows))
        console.print(
            f"\n{len(data)} records of 30 clinical measures; model and records are sealed before they leave this process"
        )
    job = owner.submit_inference(
        model(), data, rows_per_task=ROWS_PER_TASK, privacy=PRIVACY, name="biopsies", memory_mb=512
    )
    killed = _watch(fleet, job, as_json)
    state = job.wait(timeout=60)
    verified = state == "done" and _same(job.results(), _local(data))
    if not as_json:
        _who_saw(job, rows, killed)
    return {
        "nodes": len(rows),
        "killed": int(bool(killed)),
        "tasks": job.tasks,
        "verified": verified,
        "state": state,
        "privacy": PRIVACY,
    }


def _watch(fleet: LocalFleet, job: Job, as_json: bool) -> str:
    """Show progress and kill -9 one node that works, when a third is done."""
    killed = ""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=as_json) as bar:
        line = bar.add_task("running", total=job.tasks)

        def moved(job: Job) -> None:
            nonlocal killed
            told = job.progress.nodes if job.progress is not None else 0
            on = min(told, len(fleet.nodes))  # a dead node is counted until its silence tells
            bar.update(line, completed=job.finished, description=f"running on {on} nodes")
            if not killed and job.finished >= job.tasks // 3:
                killed = next(iter(fleet.nodes))
                fleet.kill(killed)
                if not as_json:
                    late = f"within {NOTICED:g} s its silence tells"
                    bar.console.print(f"kill -9 {killed}; {late}, and its tasks run elsewhere")

        job.wait(timeout=60, on_progress=moved)
    return killed


def _local(data: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Run the same model here, in the open."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime as ort

    session = ort.InferenceSession(model(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, models.prepare(models.signature(model()), data)), strict=True))


def _same(found: Any, wanted: dict[str, Any]) -> bool:
    results = found if isinstance(found, dict) else {next(iter(wanted)): found}
    return set(results) == set(wanted) and all(np.allclose(results[name], wanted[name], atol=1e-5) for name in wanted)


def _who_saw(job: Job, rows: list[NodeRow], killed: str) -> None:
    names = {row.node: row.report.name for row in rows}
    ran = sorted({names.get(item.node, "?") for item in job.ran()})
    lines = [
        ("you", "everything", "the keys are in your home folder"),
        ("the network", "ciphertext, sizes, times", "QUIC between proven keys, and sealed inside it"),
        ("the orchestrator", "ciphertext, sizes, times, names of nodes", "it never had a key"),
        ("other jobs on a node", "nothing", "each job has a sandbox and a key of its own; tested, not proven"),
        (f"lenders of {', '.join(ran)}", "could have looked", "an owner with root can read a guest's memory"),
    ]
    idle = sorted(set(names.values()) - set(ran) - {killed})
    if idle:
        lines.append((f"lenders of {', '.join(idle)}", "nothing", "they were given no key"))
    console.print(table("\nWho could have seen what", ("WHO", "WHAT", "WHY"), lines))
    console.print(
        f"This job accepted that by --privacy {PRIVACY}; without it, it would have waited for machines that prove more."
    )


def _write(report: dict[str, Any]) -> None:
    target = Path("build")
    target.mkdir(exist_ok=True)
    (target / "demo.json").write_text(json.dumps(report, indent=2) + "\n")
