"""What is left of a local fleet that was started in the background: which of its processes run, and their end."""

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

from propolis.runtime import config

STOP_SECONDS = 5.0
PROBE_SECONDS = 1.0


def running(home: Path) -> dict[str, int]:
    """Return the processes of a local fleet that still run, by name."""
    try:
        pids: dict[str, int] = json.loads((home / "pids.json").read_text())
    except (OSError, ValueError):
        return {}
    return {name: pid for name, pid in pids.items() if _is_ours(pid)}


def nobody_listens(home: Path) -> bool:
    """Return whether this machine refuses every TCP address at which the home's orchestrator was last; False if unsure."""
    known = config.read(home / "owner" / "fleet.json", config.FleetFile)
    doors = [
        a.partition("://")[2].rpartition(":") for a in (known.addresses if known is not None else ()) if "://" in a
    ]
    refused = 0
    for host, _, port in doors:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS).close()
        except ConnectionRefusedError:
            refused += 1
        except (OSError, ValueError):
            return False
    return bool(doors) and refused == len(doors)


def _is_ours(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"propolis." in command or command.startswith(b"swtpm\0socket")
    except OSError:
        return False


def stop_running(home: Path) -> int:
    """End a detached local fleet; returns how many processes ended."""
    pids = running(home)
    for pid in pids.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_is_ours(pid) for pid in pids.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids.values():
        if _is_ours(pid):
            os.kill(pid, signal.SIGKILL)
    (home / "pids.json").unlink(missing_ok=True)
    return len(pids)
