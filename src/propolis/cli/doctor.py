"""`propolis doctor`: what is detected on this machine, found by doing where it can be. Detected is not proven."""

import asyncio
import platform
import sys
from pathlib import Path

import click

from propolis.adapters.wire.choice import has_iroh
from propolis.adapters.world import machine
from propolis.cli.fleet import JSON
from propolis.cli.show import emit, table
from propolis.runtime.ending import Exit
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Unsupported

Row = dict[str, str]
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


def rows() -> list[Row]:
    """Return what is found here."""
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
    found.append(
        _row("proven", "nothing", "no attestation in this release: only trusted-lenders jobs run here", "attestation")
    )
    return found


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
def doctor(as_json: bool) -> int:
    """Say what this machine can guarantee as a node, to whom, and what would raise it."""
    found = rows()
    shown = table("", ("WHAT", "FOUND", "MEANS", "WOULD RAISE IT"), [tuple(row.values()) for row in found])
    note = "\nDetected is not proven: all of this is this machine's word, worth nothing against its own owner."
    emit(as_json, found, shown, note)
    return Exit.OK if not any(row["what"] == "isolation" and row["found"] == "none" for row in found) else Exit.CONFIG
