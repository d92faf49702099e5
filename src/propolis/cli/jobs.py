"""Job commands: run, jobs, explain, logs, fetch, stop."""

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from propolis.cli.fleet import JSON, connected
from propolis.cli.output import check, deliver
from propolis.cli.rows import jobs_table
from propolis.cli.show import clean, console, emit, errors, table
from propolis.decisions.privacy import DEFAULT, KEYWORDS
from propolis.owner.live import ENDED
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet, Job, tables
from propolis.terms.errors import DataError
from propolis.terms.job import Kind

PROGRAM = "PROGRAM is model.onnx or script.py:function; INPUTS a csv, npy, npz, safetensors, arrow, json or jsonl file."


@click.command(help=f"Run a private job and wait for it.\n\n{PROGRAM}")
@click.argument("program")
@click.argument("inputs", type=click.Path(path_type=Path))
@click.option(
    "--privacy",
    type=click.Choice(list(KEYWORDS)),
    default=DEFAULT,
    show_default=True,
    help="Who is kept out: propolis privacy",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write results here (npz, safetensors, csv; json for functions).",
)
@click.option("--rows-per-task", type=click.IntRange(1), default=None, help="Rows of the table in one task.")
@click.option("--package", "packages", multiple=True, help="A package the function imports, like numpy>=2.")
@click.option("--memory-mb", type=click.IntRange(64), default=512, show_default=True)
@click.option(
    "--task-seconds",
    type=click.FloatRange(min=0.001),
    default=60.0,
    show_default=True,
    help="The most one task may take.",
)
@click.option("--name", default="")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=None,
    help="Seconds to wait before the job is left to the background.",
)
@click.option("--wait/--no-wait", default=True, help="--no-wait: a background process sees it through.")
@JSON
@click.pass_obj
def run(home: Path, /, program: str, inputs: Path, wait: bool, as_json: bool, **options: Any) -> int:
    """Run a private job."""
    check(options["output"], Kind.INFERENCE if program.endswith(".onnx") else Kind.FUNCTION)
    with connected(home) as fleet:
        job = _submit(fleet, program, inputs, options)
        if not wait:
            fleet.keep()
            text = (
                f"job {job.id[:8]} submitted and kept going in the background\n  → propolis fetch {job.id[:8]} -o FILE"
            )
            emit(as_json, _record(job), text=text)
            return Exit.OK
        state = _follow(fleet, job, options["timeout"], as_json)
        record = _record(job)
        if state in ("done", "failed"):
            record["output"] = _deliver(job, options["output"], as_json)
        emit(as_json, record, text=_ending(job, state))
        return _code(job, state)


def _submit(fleet: Fleet, program: str, inputs: Path, options: dict[str, Any]) -> Job:
    common = {name: options[name] for name in ("privacy", "name", "memory_mb", "task_seconds")}
    if program.endswith(".onnx"):
        return fleet.submit_inference(program, inputs, rows_per_task=options["rows_per_task"], **common)
    script, _, entry = program.rpartition(":")
    if not script.endswith(".py") or not Path(script).is_file():
        raise DataError(f"{program!r} is neither a model.onnx nor script.py:function")
    values = tables.read_values(inputs)
    return fleet.submit_map(
        Path(script).read_text("utf-8"), values, entry=entry, packages=options["packages"], **common
    )


def _follow(fleet: Fleet, job: Job, timeout: float | None, as_json: bool) -> str:
    """Show progress; say at once why a job waits and what would change that."""
    said: set[str] = set()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=as_json) as bar:
        line = bar.add_task(escape(f"{clean(job.name)} {job.id[:8]}"), total=job.tasks)

        def moved(job: Job) -> None:
            progress = job.progress
            where = f" on {progress.nodes} nodes" if progress is not None and progress.nodes else ""
            bar.update(
                line, completed=job.finished, description=escape(f"{clean(job.name)} {job.id[:8]} {job.state()}{where}")
            )
            reason = job.reason()
            if job.state() == "pending" and "none of" in reason and reason not in said and not as_json:
                said.add(reason)
                errors.print(f"waiting: {reason}\n  → {_way_out(job)}")

        try:
            state = job.wait(timeout=timeout, on_progress=moved)
        except KeyboardInterrupt:
            fleet.keep()
            errors.print(f"job {job.id[:8]} goes on in the background\n  → propolis stop {job.id[:8]} ends it")
            raise
    if state not in ENDED:
        fleet.keep()
    return state


def _way_out(job: Job) -> str:
    if any(word in job.reason() for word in ("A2", "A3", "hardware")):
        what = KEYWORDS["trusted-lenders"][0]
        return f"it runs as soon as a machine can prove it; or, if you accept it, --privacy trusted-lenders: {what}"
    return f"propolis explain {job.id[:8]} says what each node lacks"


def _deliver(job: Job, output: Path | None, as_json: bool) -> str | None:
    if output is None:
        return None
    deliver(job, output)
    if not as_json:
        console.print(f"results written to {output}")
    return str(output)


def _ending(job: Job, state: str) -> str:
    look = f"\n  → propolis logs {job.id[:8]}"
    if state == "done" and job.raised:
        return f"job {job.id[:8]} done, but {job.raised} of {job.tasks} tasks raised{look}"
    if state == "done":
        return f"job {job.id[:8]} done: {job.tasks} tasks"
    return f"job {job.id[:8]} {state}: {job.reason()}{look}; propolis explain {job.id[:8]}"


def _code(job: Job, state: str) -> int:
    if job.raised:
        return Exit.FAILED
    codes = {
        "done": Exit.OK,
        "failed": Exit.FAILED,
        "stopped": Exit.FAILED,
        "refused": Exit.REFUSED,
        "pending": Exit.REFUSED,
    }
    return codes.get(state, Exit.OK)


def _record(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state(),
        "tasks": job.tasks,
        "finished": job.finished,
        "reason": job.reason(),
    }


@click.command()
@JSON
@click.pass_obj
def jobs(home: Path, as_json: bool) -> None:
    """List your jobs."""
    with connected(home) as fleet:
        rows = fleet.jobs()
    emit(as_json, rows, jobs_table(rows))


@click.command()
@click.argument("job")
@JSON
@click.pass_obj
def explain(home: Path, job: str, as_json: bool) -> None:
    """Say which nodes run or refuse a job, and why."""
    with connected(home) as fleet:
        found = fleet.explain(job)
    rows = [
        (v.node[:4].hex(), v.name, "may run it" if v.admitted else "refused", "; ".join(v.reasons))
        for v in found.verdicts
    ]
    emit(as_json, found, jobs_table([found.job]))
    if not as_json:
        console.print(table("", ("NODE", "NAME", "VERDICT", "WHY"), rows))
        for event in found.events:
            console.print(event)


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
                console.print(f"{index:>6} | {line}")


@click.command()
@click.argument("job")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--timeout", type=click.FloatRange(min=0), default=None, help="Seconds to wait for the rest of it.")
@JSON
@click.pass_obj
def fetch(home: Path, job: str, output: Path, timeout: float | None, as_json: bool) -> int:
    """Fetch a job's results, also long after it was submitted."""
    with connected(home) as fleet:
        found = fleet.job(job)
        check(output, found.kind)
        state = _follow(fleet, found, timeout, as_json)
        record = _record(found)
        if state in ("done", "failed"):
            record["output"] = _deliver(found, output, as_json)
        emit(as_json, record, text=_ending(found, state))
        return _code(found, state)


@click.command()
@click.argument("job")
@JSON
@click.pass_obj
def stop(home: Path, job: str, as_json: bool) -> None:
    """End a job; finished results stay."""
    with connected(home) as fleet:
        fleet.stop(job)
        found = fleet.job(job)
        found.wait(timeout=5.0)
        emit(as_json, _record(found), text=f"job {found.id[:8]} {found.state()}")


COMMANDS = (run, jobs, explain, logs, fetch, stop)
