"""`run` and `fetch`: submit or find a job, wait visibly, say how it ended and why, write its results."""

import re
from pathlib import Path
from typing import Any, Unpack

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from propolis.cli import output, programs
from propolis.cli.fleet import JSON, connected
from propolis.cli.show import console, emit, errors
from propolis.decisions.privacy import DEFAULT, KEYWORDS
from propolis.owner.live import ENDED
from propolis.runtime.ending import Exit
from propolis.sdk import Fleet, Job, tables
from propolis.sdk.options import JobOptions
from propolis.terms.errors import Overran
from propolis.terms.job import MAX_MEMORY_MB, MAX_TASK_BYTES, Kind
from propolis.terms.text import clean

INPUTS = f"INPUTS is a file: {tables.VALUES}"
_FILE = click.Path(path_type=Path)
_OUTPUT = "Write results here (npz, safetensors, csv; json for functions)."
_FORCE = click.option("--force", is_flag=True, help="Replace FILE even when results are missing.")


@click.command(help=f"Run a private job and wait for it.\n\n{programs.WANTED}; {INPUTS}.")
@click.argument("program")
@click.argument("inputs", type=_FILE)
@click.option(
    "--privacy",
    type=click.Choice(list(KEYWORDS)),
    default=DEFAULT,
    show_default=True,
    help="Who is kept out: propolis privacy",
)
@click.option("-o", "--output", "target", metavar="FILE", type=_FILE, help=_OUTPUT)
@_FORCE
@click.option("--rows-per-task", type=click.IntRange(1), default=None, help="Rows of a model's table in one task.")
@click.option("--package", "packages", multiple=True, help="A package the function imports, like numpy>=2; repeatable.")
@click.option(
    "--memory-mb",
    type=click.IntRange(64, MAX_MEMORY_MB),
    default=512,
    show_default=True,
    help="The most memory a task may take.",
)
@click.option(
    "--task-seconds",
    type=click.FloatRange(min=0.001),
    default=60.0,
    show_default=True,
    help="The most time one task may take.",
)
@click.option("--name", default="", help="How the job is called in lists (default: the program's name).")
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait; the job goes on in the background.")
@click.option("--wait/--no-wait", default=True, help="--no-wait: a background process sees it through.")
@JSON
@click.pass_obj
def run(
    home: Path,
    /,
    program: str,
    inputs: Path,
    target: Path | None,
    force: bool,
    rows_per_task: int | None,
    packages: tuple[str, ...],
    timeout: float | None,
    wait: bool,
    as_json: bool,
    **common: Unpack[JobOptions],
) -> int:
    """Run a private job."""
    named = programs.named(program)
    output.check(target, named.kind)
    with connected(home) as fleet:
        if named.kind is Kind.INFERENCE:
            job = fleet.submit_inference(named.path, inputs, rows_per_task=rows_per_task, **common)
        else:
            values = tables.read_values(inputs)
            job = fleet.submit_map(named.text, values, entry=named.entry, packages=packages, **common)
        if not wait:
            fleet.keep()
            text = f"job {job.id[:8]} goes on in the background\n  → propolis fetch {job.id[:8]} -o FILE"
            emit(as_json, record(job), text=text)
            return Exit.OK
        return _through(fleet, job, target, force, timeout, as_json)


@click.command()
@click.argument("job")
@click.option("-o", "--output", "target", metavar="FILE", type=_FILE, required=True, help=_OUTPUT)
@_FORCE
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait for the rest of it.")
@JSON
@click.pass_obj
def fetch(home: Path, /, job: str, target: Path, force: bool, timeout: float | None, as_json: bool) -> int:
    """Fetch a job's results, also long after it was submitted."""
    with connected(home) as fleet:
        found = fleet.job(job)
        output.check(target, found.kind)
        return _through(fleet, found, target, force, timeout, as_json)


def _through(fleet: Fleet, job: Job, target: Path | None, force: bool, timeout: float | None, as_json: bool) -> int:
    """Wait for a job, write what it gave, say how it ended; return the exit code."""
    state = _follow(fleet, job, timeout, as_json)
    told = record(job)
    if target is not None and state in ("done", "failed"):
        why_not = output.kept(job, target, force=force)
        if not why_not:
            output.deliver(job, target)
        told["output"] = None if why_not else str(target)
        if not as_json:
            console.print(why_not or f"results written to {target}")
    text = ending(job, state)
    if target is None and state == "done" and not job.raised:
        text += f"\n  → propolis fetch {job.id[:8]} -o FILE has its results"
    emit(as_json, told, text=text)
    return _code(job, state)


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
    with Progress(*columns, console=errors, transient=True, disable=as_json or not errors.is_terminal) as bar:
        line = bar.add_task(escape(f"{clean(job.name)} {job.id[:8]}"), total=job.tasks)

        def moved(job: Job) -> None:
            progress = job.progress
            where = f" on {progress.nodes} nodes" if progress is not None and progress.nodes else ""
            bar.update(
                line, completed=job.finished, description=escape(f"{clean(job.name)} {job.id[:8]} {job.state()}{where}")
            )
            reason = job.reason()
            stuck = (job.state() == "pending" and "none of" in reason) or "it goes on when" in reason
            if stuck and job.state() not in ENDED and reason not in said and not as_json:
                said.add(reason)
                errors.print(f"waiting: {reason}\n  → {way_out(job.id, reason)}")

        try:
            state = job.wait(timeout=timeout, on_progress=moved)
        except KeyboardInterrupt:
            fleet.keep()
            errors.print(f"job {job.id[:8]} goes on in the background\n  → propolis stop {job.id[:8]} ends it")
            raise
    if state not in ENDED:
        fleet.keep()
    return state


def way_out(job: str, reason: str) -> str:
    """Return what would let a job run that waits for this reason; `job` is its id."""
    package = re.search(r"does not offer the package ([\w.-]+)", reason)
    if package:
        return f"a lender who has it offers it: propolis node start --offer {package[1]}"
    if any(word in reason for word in ("A2", "A3", "hardware")):
        what = KEYWORDS["trusted-lenders"][0]
        return f"it runs as soon as a machine can prove it; or, if you accept it, --privacy trusted-lenders: {what}"
    return f"propolis explain {job[:8]} says what each node lacks"


def ending(job: Job, state: str) -> str:
    """Return how the job stands: why, and where to look."""
    name = f"job {job.id[:8]}"
    look = f"\n  → propolis logs {job.id[:8]}"
    if job.raised and state in ("done", "failed"):
        index, line = job.first_raised()
        text = f"{name} {state}, but {job.raised} of {job.tasks} tasks raised; task {index}: {line}"
        return text + (_missing(line) or look)
    if state == "done":
        return f"{name} done: {job.tasks} task{'' if job.tasks == 1 else 's'}"
    reason = f": {job.reason()}" if job.reason() else ""
    if Overran.code in reason:
        most = MAX_TASK_BYTES >> 20
        look = f"\n  → --task-seconds and --memory-mb give a task more; a result takes at most {most} MiB"
    elif state in ("pending", "running"):
        look = f"\n  → it goes on in the background: propolis fetch {job.id[:8]} -o FILE, or propolis stop {job.id[:8]}"
    return f"{name} {state}{reason}{look}; propolis explain {job.id[:8]}"


def _missing(line: str) -> str:
    """Return the way out for a package that is not there."""
    found = re.search(r"No module named '([\w.]+)'", line)
    if not found:
        return ""
    package = found[1].split(".")[0]
    return (
        f"\n  → --package {package} runs it where a lender offers that (propolis node start --offer {package});"
        " nothing is installed for a job"
    )


def _code(job: Job, state: str) -> int:
    if job.raised:
        return Exit.FAILED
    codes = {
        "done": Exit.OK,
        "failed": Exit.FAILED,
        "stopped": Exit.FAILED,
        "refused": Exit.REFUSED,
        "pending": Exit.REFUSED,
        "running": Exit.UNFINISHED,
    }
    return codes.get(state, Exit.OK)


def record(job: Job) -> dict[str, Any]:
    """Return what `--json` says of a job."""
    return {
        "job": job.id,
        "name": job.name,
        "state": job.state(),
        "tasks": job.tasks,
        "finished": job.finished,
        "raised": job.raised,
        "reason": job.reason(),
    }


COMMANDS = (run, fetch)
