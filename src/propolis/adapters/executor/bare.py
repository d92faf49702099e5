"""No isolation at all: guests are ordinary processes of the agent's user. For a lender's own code on its own machine.

Never a fallback: it exists only for who passes the flag that says what it means, and its rung is BARE in every receipt.
"""

import asyncio
import contextlib
import subprocess
import sys

from propolis.adapters.executor.environment import THREADS
from propolis.adapters.executor.pipes import GuestPipes
from propolis.adapters.executor.process import ProcessGuest
from propolis.ports.executor import GuestOrder
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Unsupported

_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "ORT_DISABLE_TELEMETRY": "1",
    **THREADS,
}


class BareExecutor:
    """Unconfined guests."""

    def __init__(self, *, i_accept_that_jobs_run_unconfined: bool = False) -> None:
        """Raises Unsupported unless the flag is given."""
        if not i_accept_that_jobs_run_unconfined:
            raise Unsupported("the bare executor confines nothing; it runs only for who accepts that by name")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    async def probe(self) -> Isolation:
        """Nothing is reached."""
        return Isolation(rung=Rung.BARE, notes=("unconfined by the lender's explicit option",))

    async def start(self, order: GuestOrder) -> ProcessGuest:
        """Start an ordinary process."""
        pipes = GuestPipes()
        process = subprocess.Popen(  # noqa: ASYNC220  returns at once
            [sys.executable, "-I", "-m", "propolis.guest", "--bare"],
            stdin=pipes.theirs[0],
            stdout=pipes.theirs[1],
            stderr=pipes.theirs[2],
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        pipes.given()
        self._processes[process.pid] = process
        return await ProcessGuest.begin(pipes, process.pid, order, lambda: self._end(process.pid))

    async def _end(self, pid: int) -> None:
        process = self._processes.pop(pid, None)
        if process is not None:
            process.kill()
            await asyncio.to_thread(process.wait)

    def warm(self, slot: int) -> None:
        """A process starts fast enough."""

    async def close(self) -> None:
        """Kill all guests."""
        for pid in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                await self._end(pid)
