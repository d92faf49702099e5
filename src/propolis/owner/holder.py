"""The process that holds a home serves the others of the same user: their requests in, its knowledge of jobs out."""

import asyncio
import contextlib
import itertools
import os
import socket
from pathlib import Path

from propolis.owner import control
from propolis.owner.live import Live, Session
from propolis.terms.errors import PropolisError, WireError
from propolis.terms.identity import JobId, NodeId

PUSH_SECONDS = 0.25
BATCH_BYTES = 4 * 1024 * 1024


class Holder:
    """The control socket of one home."""

    def __init__(self, home: Path, session: Session) -> None:
        self._path = control.SocketPath(home)
        self._session = session
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket left behind by a dead holder is replaced."""
        with contextlib.suppress(FileNotFoundError):
            self._path.path.unlink()
        self._server = await asyncio.start_unix_server(self._met, self._path.address)
        os.chmod(self._path.path, 0o600)

    async def close(self) -> None:
        """Stop listening and let every follower know."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                self._path.path.unlink()
        for task in list(self._talks):
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        self._path.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            sock = writer.get_extra_info("socket")
            if isinstance(sock, socket.socket) or hasattr(sock, "getsockopt"):
                if not control.same_user(sock):
                    return
                await _Talk(self._session, reader, writer).run()
        except (WireError, asyncio.CancelledError):
            return  # the follower ended, speaks another release's words, or we close: asyncio prints a cancelled one as an error
        finally:
            self._talks.discard(task)
            writer.close()


class _Talk:
    """One follower."""

    def __init__(self, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._session = session
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._inputs: dict[int, list[bytes]] = {}
        self._followed: dict[JobId, tuple[Live, int]] = {}  # and how many outcomes were sent
        self._said: dict[JobId, tuple[object, object]] = {}

    async def run(self) -> None:
        """Serve until the follower goes."""
        pushing = asyncio.create_task(self._push())
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                request = await control.read(self._reader, control.FromFollower)
                if isinstance(request, control.AddInputs):
                    self._inputs.setdefault(request.ticket, []).extend(request.items)
                    continue
                task = asyncio.create_task(self._answer(request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in (pushing, *tasks):
                task.cancel()
            await asyncio.gather(pushing, *tasks, return_exceptions=True)

    async def _send(self, record: object) -> None:
        async with self._sending:
            await control.write(self._writer, record)

    async def _answer(self, request: control.Request) -> None:
        try:
            reply = await self._do(request)
        except PropolisError as error:
            reply = control.Reply(ticket=request.ticket, code=error.code, reason=str(error)[:900])
        with contextlib.suppress(WireError):
            await self._send(reply)

    async def _do(self, request: control.Request) -> control.Reply:
        session, ticket = self._session, request.ticket
        match request:
            case control.AskOrchestrator(what=what, job=job):
                return control.Reply(ticket=ticket, rows=await session.ask(what, job))
            case control.AskInvitation(role=role, seconds=seconds):
                return control.Reply(ticket=ticket, text=await session.invite(role, seconds))
            case control.AskRemoval(member=member, shown=shown):
                await session.remove(NodeId(member), shown)
            case control.AskPolicy():
                return control.Reply(ticket=ticket, policy=await session.policy())
            case control.ChangePolicy(text=text):
                await session.set_policy(text)
            case control.AskGranted(job=job):
                return control.Reply(ticket=ticket, granted=await session.granted(JobId(job)))
            case control.AskJobs():
                return control.Reply(ticket=ticket, jobs=tuple(await session.jobs())[-control.MAX_JOBS :])
            case control.AskBusy():
                return control.Reply(ticket=ticket, text="busy" if await session.busy() else "")
            case control.StopJob(job=job):
                await session.stop_job(JobId(job))
            case control.OpenJob(job=job):
                await self._follow(await session.reopen(JobId(job)))
            case control.SubmitJob(draft=draft):
                await self._follow(await session.submit(draft, self._inputs.pop(ticket, [])))
            case _:
                pass
        return control.Reply(ticket=ticket)

    async def _follow(self, live: Live) -> None:
        await self._send(control.Opened(spec=live.spec, bare_array=live.bare_array))
        self._followed[live.spec.id] = (live, 0)
        await self._tell(live.spec.id)

    async def _push(self) -> None:
        with contextlib.suppress(WireError):
            while True:
                await self._session.changed(PUSH_SECONDS)
                for job in list(self._followed):
                    await self._tell(job)

    async def _tell(self, job: JobId) -> None:
        """Send what is new of one job."""
        live, sent = self._followed[job]
        fresh = list(itertools.islice(live.outcomes.values(), sent, None))
        self._followed[job] = (live, sent + len(fresh))
        batch, size = [], 0
        for pair in fresh:
            batch.append(pair)
            size += len(pair[1].value) if pair[1] is not None else 0
            if size > BATCH_BYTES or len(batch) >= 1024:
                await self._send(control.Arrived(job=job, results=tuple(batch)))
                batch, size = [], 0
        if batch:
            await self._send(control.Arrived(job=job, results=tuple(batch)))
        if self._said.get(job) != (live.progress, live.refused):
            self._said[job] = (live.progress, live.refused)
            await self._send(control.Moved(job=job, progress=live.progress, refused=live.refused))
