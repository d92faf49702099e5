"""`propolis doctor`: what is detected on this machine, what is usable, what is proven; what follows, what would raise it.

Detected is not proven: a machine's own word raises no level. A recording of another machine can be judged in this one's place.
"""

import asyncio
import platform
import sys
from pathlib import Path

import click
from rich.console import Group, RenderableType

from propolis.adapters.probe.choice import probe_here
from propolis.adapters.wire.choice import has_iroh
from propolis.adapters.world import machine
from propolis.cli import standing
from propolis.cli.fleet import JSON
from propolis.cli.outlook import (
    HOSTS_WORD,
    SELF_TOLD,
    contradictions,
    facts_table,
    levels_table,
    record,
    technologies_table,
)
from propolis.cli.page import page_of
from propolis.cli.show import emit, table
from propolis.decisions.appraisal.telling import proven_words
from propolis.decisions.capabilities.outlook import outlook
from propolis.decisions.capabilities.reading import read
from propolis.runtime.ending import Exit
from propolis.runtime.known import known_today, known_weaknesses, proven_here
from propolis.sdk.writing import replacing
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import DataError, Unsupported
from propolis.terms.evidence import NOTHING, Proven, emulated
from propolis.terms.recording import from_json, to_json

Row = dict[str, str]
MOST_FILE = 16 * 2**20  # of a recording: what is over does not parse
USED_ABI = 6  # the newest Landlock ABI whose rights the sandbox asks for (adapters/executor/confine/landlock.py)


async def _isolation() -> tuple[Isolation | None, str]:
    if sys.platform != "linux":
        return None, f"this release has no sandbox for {platform.system()}"
    from propolis.adapters.executor.sandbox import SandboxExecutor  # imports Linux's own system calls

    executor = SandboxExecutor(warm=False)
    try:
        return await executor.probe(), ""
    except Unsupported as error:
        return None, str(error)
    finally:
        await executor.close()


def _row(what: str, found: str, means: str, raises: str = "") -> Row:
    return {"what": what, "found": found, "means": means, "raise": raises}


def rows(reached: Isolation | None = None, why: str = "", proven: Proven = NOTHING) -> list[Row]:
    """Return what is found here, in short. `reached`: the isolation, where it was probed before; `proven`: by its fleet."""
    if reached is None and not why:
        reached, why = asyncio.run(_isolation())
    found = [
        _row("system", f"{platform.system()} {platform.release()} {platform.machine()}", "what guests run on"),
        _row("python", platform.python_version(), "what functions run under"),
        _row("cores, memory", f"{machine.cores()}, {machine.total_memory_mb()} MB", "what can be lent"),
        _row("speed", f"{machine.speed():.1f} GFLOP/s a core", "float32 products, for placement"),
    ]
    if reached is None:
        found.append(
            _row("isolation", "none", f"no job runs here: {why}", "Linux 5.13 or newer with Landlock and seccomp")
        )
    else:
        means = {
            Rung.NAMESPACES: "guests have their own root, PIDs, network; no files, no sockets, no fork. Protects you, the lender",
            Rung.FLAT: "models run, without files, sockets or other processes; functions only if you accept it: node join --help",
        }[reached.rung]
        lift = (
            "" if reached.rung is Rung.NAMESPACES else "; ".join(("allow unprivileged user namespaces", *reached.notes))
        )
        found.append(_row("isolation", f"{reached.rung.name.lower()} (reached by doing)", means, lift))
        found.append(
            _row(
                "landlock",
                f"ABI {reached.landlock_abi}",
                "which rights the kernel can deny",
                f"a kernel with ABI {USED_ABI}" if reached.landlock_abi < USED_ABI else "",
            )
        )
        uid = "a uid of its own per guest" if reached.own_uid else "your uid, inside a user namespace"
        found.append(_row("guest's user", uid, "never root"))
    found.append(_swap())
    wire = "iroh (QUIC dialled by key)" if has_iroh() else "WebSocket to the orchestrator"
    found.append(_row("wire", wire, "every channel is mutually authenticated and encrypted"))
    found.append(_proven(proven))
    return found


def _proven(proven: Proven) -> Row:
    words = proven_words(proven)
    if not proven:
        means = "no fleet verified evidence of this machine: only trusted-lenders jobs run here"
        return _row("proven", words, means, "a TPM, and a fleet that verifies it: propolis node start, attest --result")
    if emulated(proven):
        return _row("proven", words, "a rehearsal: it raises no level", "a TPM that is a chip")
    return _row("proven", words, "its fleet verified evidence of it; attest --result says until when")


def _swap() -> Row:
    try:
        lines = Path("/proc/swaps").read_text("ascii").splitlines()[1:]
    except OSError:
        return _row("swap", "unknown", "a guest's memory might be written to disk")
    if not lines:
        return _row("swap", "none", "a guest's memory is not written to disk")
    return _row("swap", f"{len(lines)} device(s)", "a guest's memory may be written to disk", "encrypted swap, or none")


@click.command()
@JSON
@click.pass_obj
@click.option("--facts", is_flag=True, help="Show every fact, how it was found, and what would add to it.")
@click.option(
    "--page", type=click.Path(path_type=Path), help="Write a page to share: no name, no serial number is on it."
)
@click.option("--record", "keep", type=click.Path(path_type=Path), help="Write what was seen, to be judged elsewhere.")
@click.option("--recording", type=click.Path(path_type=Path), help="Judge this file in this machine's place.")
def doctor(
    home: Path, /, as_json: bool, facts: bool, page: Path | None, keep: Path | None, recording: Path | None
) -> int:
    """Say what this machine can guarantee as a node, to whom, and what would raise it."""
    seen = from_json(_read(recording)) if recording else probe_here().record()
    if recording:
        isolation, found, proven = Isolation(rung=Rung.BARE), [], NOTHING
    else:
        reached, why = asyncio.run(_isolation())
        proven = proven_here(home / "node", standing.node_of(home / "node"))
        isolation, found = reached or Isolation(rung=Rung.BARE), rows(reached, why, proven)
    known = known_today()
    seen_as = outlook(read(seen, known_weaknesses()), isolation, proven, known.table, known.date)
    if keep:
        _write(keep, to_json(seen))
    if page:
        _write(page, page_of(seen_as).encode())
    summary = (
        [table("", ("WHAT", "FOUND", "MEANS", "WOULD RAISE IT"), [tuple(row.values()) for row in found])]
        if found
        else []
    )
    every = [facts_table(seen_as.facts)] if facts else []
    shown = Group(*_apart([*summary, technologies_table(seen_as), levels_table(seen_as), *every]))
    notes = [
        contradictions(seen_as),
        f"\n{SELF_TOLD}",
        HOSTS_WORD if seen_as.guest else "",
        f"page: {page}" if page else "",
    ]
    emit(as_json, record(seen_as, found), shown, "\n".join(note for note in notes if note))
    return Exit.OK if not any(row["what"] == "isolation" and row["found"] == "none" for row in found) else Exit.CONFIG


def _apart(parts: list[RenderableType]) -> list[RenderableType]:
    return [each for part in parts for each in (part, "")][:-1]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_FILE)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        with replacing(path) as beside:
            beside.write_bytes(data)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
