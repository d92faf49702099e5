"""The sandbox executor: guests forked by a fork server, confined before they read a byte, one per job, warm ones ready.

Which rung this machine reaches is found by confining a canary, not by looking. The rung that was reached is the rung that
every guest gets, or the guest is not started: there is no weaker retry.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys

import msgspec

from propolis.adapters.executor.environment import THREADS
from propolis.adapters.executor.pipes import GuestPipes
from propolis.adapters.executor.process import ProcessGuest
from propolis.adapters.executor.slots import SLOTS, SlotRange
from propolis.messages import codec
from propolis.messages.zygote import Ended, Forked, Kill, Profile, Reply, Spawn
from propolis.ports.executor import GuestOrder
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Crashed, Overran, Unsupported
from propolis.terms.job import Kind, Needs
from propolis.terms.text import without_paths

log = logging.getLogger(__name__)


SERVER = "import runpy; runpy.run_module('propolis.guest', run_name='__main__', alter_sys=True)"
"""The fork server, as its interpreter is told; its control socket is descriptor 3 by then."""

START_SECONDS = 30.0
KILL_SECONDS = 5.0


class SandboxExecutor:
    """Confined guests. `memory_mb` = the most one guest may be given; `warm` = keep a confined guest ready per slot."""

    def __init__(self, *, memory_mb: int = 2048, warm: bool = True, minimum: Rung = Rung.FLAT) -> None:
        self._memory_mb = memory_mb
        self._keep_warm = warm
        self._minimum = minimum
        self._uids: SlotRange | None = None  # of a privileged agent, once it starts a guest
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._tickets: dict[int, asyncio.Future[int]] = {}
        self._ends: dict[int, asyncio.Event] = {}
        self._warm: dict[int, asyncio.Task[tuple[GuestPipes, int]]] = {}
        self._next_ticket = 1
        self._reached: Isolation | None = None
        self._starting: asyncio.Lock = asyncio.Lock()
        self._closed = False

    # -- the port

    async def probe(self) -> Isolation:
        """Confine canaries, strongest first; what stronger rungs said is in the notes. Raises Unsupported with all of it."""
        if self._reached is not None:
            return self._reached
        complaints: list[str] = []
        for rung in (Rung.NAMESPACES, Rung.FLAT):
            if rung < self._minimum:
                continue
            try:
                reached = await self._canary(rung)
            except (Crashed, Overran) as error:
                complaints.append(f"{rung.name.lower()}: {error}")
                continue
            notes = tuple(f"no {without_paths(complaint)}"[:200] for complaint in complaints)
            self._reached = msgspec.structs.replace(reached, notes=notes)
            return self._reached
        raise Unsupported("no isolation could be reached here; " + "; ".join(complaints))

    async def start(self, order: GuestOrder) -> ProcessGuest:
        """Start a guest, a warm one if there is."""
        await self.probe()
        waiting = self._warm.pop(order.slot, None)
        pipes, pid = await (waiting or self._fork(self._profile(order.slot)))
        try:
            guest = await ProcessGuest.begin(pipes, pid, order, lambda: self._end(pid))
        except Crashed:
            if waiting is None:
                raise
            pipes, pid = await self._fork(self._profile(order.slot))  # the warm one died waiting; same profile, fresh
            guest = await ProcessGuest.begin(pipes, pid, order, lambda: self._end(pid))
        if guest.isolation.rung < self._minimum:
            await guest.kill()
            raise Unsupported(f"the guest reached only {guest.isolation.rung.name}")
        return guest

    def warm(self, slot: int) -> None:
        """Have a confined, unassigned guest ready for the slot."""
        if self._keep_warm and not self._closed and self._reached is not None and slot not in self._warm:
            self._warm[slot] = asyncio.create_task(self._fork(self._profile(slot)))

    async def close(self) -> None:
        """Kill all guests and the fork server."""
        self._closed = True
        for task in self._warm.values():
            with contextlib.suppress(Crashed, Overran, asyncio.CancelledError):
                pipes, pid = await task
                pipes.close()
                await self._end(pid)
        self._warm.clear()
        for pid in list(self._ends):
            await self._end(pid)
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
        if self._uids is not None:
            self._uids.release()
            self._uids = None

    # -- guests

    def _profile(self, slot: int) -> Profile:
        assert self._reached is not None
        return self._profile_of(self._reached.rung, slot)

    def _profile_of(self, rung: Rung, slot: int) -> Profile:
        if os.geteuid() != 0:
            return Profile(rung=rung, uid=0, memory_mb=self._memory_mb)
        if self._uids is None:
            self._uids = SlotRange()
        return Profile(rung=rung, uid=self._uids.uid(slot), memory_mb=self._memory_mb)

    async def _canary(self, rung: Rung) -> Isolation:
        """Start a guest under the rung, take its key, end it."""
        pipes, pid = await self._fork(self._profile_of(rung, SLOTS - 1))
        order = GuestOrder(job=bytes(16), guest=bytes(16), owner=bytes(32), kind=Kind.FUNCTION, needs=Needs(), slot=0)
        guest = await ProcessGuest.begin(pipes, pid, order, lambda: self._end(pid))
        reached = guest.isolation
        await guest.kill()
        if reached.rung is not rung:
            raise Crashed(f"asked for {rung.name}, got {reached.rung.name}")
        return reached

    async def _fork(self, profile: Profile) -> tuple[GuestPipes, int]:
        control = await self._served()
        pipes = GuestPipes()
        self._next_ticket += 1
        ticket = self._next_ticket
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tickets[ticket] = answer
        try:
            socket.send_fds(control, [codec.encode(Spawn(ticket=ticket, profile=profile))], pipes.theirs)
            async with asyncio.timeout(START_SECONDS):
                pid = await answer
        except (TimeoutError, OSError, Crashed) as error:
            pipes.close()
            raise Crashed(f"the fork server does not answer: {error}") from error
        finally:
            self._tickets.pop(ticket, None)
        pipes.given()
        return pipes, pid

    async def _end(self, pid: int) -> None:
        """Kill and wait until the fork server has reaped it; with namespaces its whole tree is gone then."""
        ended = self._ends.get(pid)
        if ended is None or ended.is_set() or self._control is None:
            self._ends.pop(pid, None)
            return
        while not ended.is_set() and self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(codec.encode(Kill(pid=pid)))
            try:
                async with asyncio.timeout(KILL_SECONDS):
                    await ended.wait()
            except TimeoutError:  # its slot is not free before it is gone; only the end of everything stops waiting
                log.error("guest %d did not end within %g s", pid, KILL_SECONDS)
                if self._closed:
                    break
        self._ends.pop(pid, None)

    # -- the fork server

    async def _served(self) -> socket.socket:
        async with self._starting:
            if self._server is not None and self._server.poll() is None and self._control is not None:
                return self._control
            return await self._serve()

    async def _serve(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {
            "PATH": "/usr/bin:/bin",
            "ORT_DISABLE_TELEMETRY": "1",
            **THREADS,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        code = f"import os; os.dup2({theirs.fileno()}, 3); {SERVER}"
        self._server = subprocess.Popen(  # noqa: ASYNC220  returns at once; its end is watched on the socket
            [sys.executable, "-I", "-c", code],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the agent's terminal is the agent's to hear; the server dies with it anyway
        )
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tickets[0] = ready
        asyncio.get_running_loop().add_reader(ours, self._readable)
        try:
            async with asyncio.timeout(START_SECONDS):
                await ready
        except TimeoutError as error:
            raise Crashed("the fork server did not come up") from error
        return ours

    def _readable(self) -> None:
        assert self._control is not None
        while True:
            try:
                data = self._control.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            reply: Reply = codec.decode(data, Reply)
            match reply:
                case Forked(ticket=ticket, pid=pid):
                    if ticket:
                        self._ends[pid] = asyncio.Event()
                    future = self._tickets.get(ticket)
                    if future is not None and not future.done():
                        future.set_result(pid)
                case Ended(pid=pid):
                    if pid in self._ends:
                        self._ends[pid].set()

    def _lost(self) -> None:
        """The fork server is gone and its guests with it; the next start brings up a new one."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        for ended in self._ends.values():
            ended.set()
        for future in self._tickets.values():
            if not future.done():
                future.set_exception(Crashed("the fork server ended"))
