"""A session through another process of the same user that holds the home (owner/control.py)."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from propolis.messages.membership import Role
from propolis.messages.rows import Rows
from propolis.owner import control
from propolis.owner.live import Draft, Live
from propolis.terms import errors
from propolis.terms.credential import Credential
from propolis.terms.errors import PropolisError, WireError
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import Granted
from propolis.terms.policy import PolicyOrder

PART_BYTES = 4 * 1024 * 1024


def _leaves(kind: type[PropolisError]) -> dict[str, type[PropolisError]]:
    found = {kind.code: kind}
    for sub in kind.__subclasses__():
        if sub.__module__ == errors.__name__:
            found.update(_leaves(sub))
    return found


ERRORS = _leaves(PropolisError)


class Follower:
    """One connection to the holder. `lives` is shared with whoever waits on jobs; `on_gone` is called once at the end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lives: dict[JobId, Live],
        on_gone: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._lives = lives
        self._on_gone = on_gone
        self._tickets = itertools.count(1)
        self._replies: dict[int, asyncio.Future[control.Reply]] = {}
        self._changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self.gone = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, home: Path, lives: dict[JobId, Live], on_gone: Callable[[], None]) -> "Follower":
        """Reach the holder. Raises OSError when nobody listens."""
        path = control.SocketPath(home)
        try:
            reader, writer = await asyncio.open_unix_connection(path.address)
        finally:
            path.close()
        return cls(reader, writer, lives, on_gone)

    async def close(self) -> None:
        """Disconnect; the holder goes on."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    # -- the session

    async def submit(self, draft: Draft, inputs: list[bytes]) -> Live:
        """See owner/live.py."""
        ticket = next(self._tickets)
        batch: list[bytes] = []
        size = 0
        for number, item in enumerate(inputs, 1):
            batch.append(item)
            size += len(item)
            if size > PART_BYTES or len(batch) == control.MAX_ITEMS or number == len(inputs):
                await self._send(control.AddInputs(ticket=ticket, items=tuple(batch)))
                batch, size = [], 0
        await self._reply(control.SubmitJob(ticket=ticket, draft=draft))
        return self._lives[draft.spec.id]

    async def jobs(self) -> list[JobId]:
        """See owner/live.py."""
        return [JobId(job) for job in (await self._reply(control.AskJobs(ticket=next(self._tickets)))).jobs]

    async def reopen(self, job: JobId) -> Live:
        """See owner/live.py."""
        await self._reply(control.OpenJob(ticket=next(self._tickets), job=job))
        return self._lives[job]

    async def granted(self, job: JobId) -> tuple[Granted, ...]:
        """See owner/live.py."""
        return (await self._reply(control.AskGranted(ticket=next(self._tickets), job=job))).granted

    async def stop_job(self, job: JobId) -> None:
        """See owner/live.py."""
        await self._reply(control.StopJob(ticket=next(self._tickets), job=job))

    async def ask(self, what: str, job: bytes = b"") -> Rows:
        """See owner/live.py."""
        reply = await self._reply(control.AskOrchestrator(ticket=next(self._tickets), what=what, job=job))
        return reply.rows or Rows()

    async def invite(self, role: Role, seconds: float) -> str:
        """See owner/live.py."""
        ask = control.AskInvitation(ticket=next(self._tickets), role=role, seconds=seconds)
        return (await self._reply(ask)).text

    async def remove(self, member: NodeId, shown: Credential | None) -> None:
        """See owner/live.py."""
        await self._reply(control.AskRemoval(ticket=next(self._tickets), member=member, shown=shown))

    async def policy(self) -> PolicyOrder | None:
        """See owner/live.py."""
        return (await self._reply(control.AskPolicy(ticket=next(self._tickets)))).policy

    async def set_policy(self, text: bytes) -> None:
        """See owner/live.py."""
        await self._reply(control.ChangePolicy(ticket=next(self._tickets), text=text))

    async def busy(self) -> bool:
        """See owner/live.py."""
        return bool((await self._reply(control.AskBusy(ticket=next(self._tickets)))).text)

    async def changed(self, seconds: float) -> None:
        """See owner/live.py."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of 3.11 swallows a cancel that comes with the event
                await self._changed.wait()

    # -- inside

    async def _send(self, record: object) -> None:
        async with self._sending:
            await control.write(self._writer, record)

    async def _reply(self, request: control.Request) -> control.Reply:
        if self.gone:
            raise control.HolderGone("the process that held this home ended")
        future = self._replies[request.ticket] = asyncio.get_running_loop().create_future()
        try:
            await self._send(request)
            reply: control.Reply = await future
        finally:
            self._replies.pop(request.ticket, None)
        if reply.code:
            raise ERRORS.get(reply.code, PropolisError)(reply.reason)
        return reply

    async def _listen(self) -> None:
        try:
            while True:
                self._take(await control.read(self._reader, control.FromHolder))
                self._changed.set()
        except WireError as error:
            self.gone = True
            for future in self._replies.values():
                if not future.done():
                    future.set_exception(control.HolderGone(str(error)))
            self._changed.set()
            self._on_gone()

    def _take(self, record: control.FromHolder) -> None:
        match record:
            case control.Reply(ticket=ticket):
                future = self._replies.get(ticket)
                if future is not None and not future.done():
                    future.set_result(record)
            case control.Opened(spec=spec, bare_array=bare_array):
                self._lives.setdefault(spec.id, Live(spec, bare_array=bare_array))
            case control.Arrived(job=job, results=results):
                live = self._lives[JobId(job)]
                live.outcomes.update((item.index, (item, outcome)) for item, outcome in results)
            case control.Moved(job=job, progress=progress, refused=refused):
                live = self._lives[JobId(job)]
                live.progress, live.refused = progress or live.progress, refused or live.refused
