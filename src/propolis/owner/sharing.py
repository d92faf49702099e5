"""One home, many processes: the first to come holds it, the others follow; when the holder ends, a follower takes its place.

So `propolis jobs` answers while `propolis run` waits elsewhere, and a job submitted through a process that ended goes on
in whichever process of the same home lives on.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from propolis.messages.membership import Role
from propolis.messages.rows import Rows
from propolis.owner import control
from propolis.owner.client import Client
from propolis.owner.follower import Follower
from propolis.owner.holder import Holder
from propolis.owner.live import Draft, Live
from propolis.terms.credential import Credential
from propolis.terms.errors import ConfigError, PropolisError
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import Granted
from propolis.terms.policy import PolicyOrder

log = logging.getLogger(__name__)

T = TypeVar("T")
RETRY_SECONDS = 0.05
AGAIN_SECONDS = 1.0
HANDOVERS = 20


class Sharing:
    """A session that outlives the process that happens to hold the home."""

    def __init__(self, home: Path) -> None:
        """Raises ConfigError when the home belongs to no fleet."""
        self._home = home
        Client.fleet_of(home)
        self._lock = control.Lock(home / control.LOCK)
        self._lives: dict[JobId, Live] = {}
        self._session: Client | Follower | None = None
        self._holder: Holder | None = None
        self._opening = asyncio.Lock()
        self._taking: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._failure: PropolisError | None = None  # what ended our session by itself, until it was told
        self._seconds = 8.0

    @property
    def holds(self) -> bool:
        """Whether this process holds the home."""
        return isinstance(self._session, Client)

    async def open(self, seconds: float) -> None:
        """Connect. Raises PeerUnreachable, InvitationRefused, ConfigError."""
        self._seconds = seconds
        await self._current()

    async def close(self) -> None:
        """Disconnect; jobs go on as far as another process sees to them."""
        for task in (self._taking, self._ending):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._let_go()

    async def _let_go(self) -> None:
        """Give the home back, to another process or to our own next try."""
        if self._holder is not None:
            await self._holder.close()
        if self._session is not None:
            await self._session.close()
        self._holder = self._session = None
        self._lock.release()

    # -- the session (owner/live.py)

    async def submit(self, draft: Draft, inputs: list[bytes]) -> Live:
        """Seal and keep a job, then ask the fleet for it."""
        return await self._do(lambda session: session.submit(draft, inputs))

    async def jobs(self) -> list[JobId]:
        """Return the jobs this home knows."""
        return await self._do(lambda session: session.jobs())

    async def reopen(self, job: JobId) -> Live:
        """Take up a known job."""
        return await self._do(lambda session: session.reopen(job))

    async def granted(self, job: JobId) -> tuple[Granted, ...]:
        """Return what is kept of the guests that got a job's key."""
        return await self._do(lambda session: session.granted(job))

    async def stop_job(self, job: JobId) -> None:
        """Ask for a job's end."""
        await self._do(lambda session: session.stop_job(job))

    async def ask(self, what: str, job: bytes = b"") -> Rows:
        """Ask the orchestrator."""
        return await self._do(lambda session: session.ask(what, job))

    async def invite(self, role: Role, seconds: float) -> str:
        """Return a fresh invitation."""
        return await self._do(lambda session: session.invite(role, seconds))

    async def remove(self, member: NodeId, shown: Credential | None) -> None:
        """Remove a member from the fleet."""
        await self._do(lambda session: session.remove(member, shown))

    async def policy(self) -> PolicyOrder | None:
        """Return the fleet's appraisal policy as its operator signed it; None: the default."""
        return await self._do(lambda session: session.policy())

    async def set_policy(self, text: bytes) -> None:
        """Set the fleet's appraisal policy."""
        await self._do(lambda session: session.set_policy(text))

    async def busy(self) -> bool:
        """Return whether a job of this home has not ended."""
        return await self._do(lambda session: session.busy())

    async def changed(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`. Raises what ended the session by itself, once."""
        session = self._session
        if session is None or (isinstance(session, Follower) and session.gone):
            await asyncio.sleep(min(seconds, RETRY_SECONDS))
        else:
            await session.changed(seconds)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # -- who holds the home

    async def _do(self, call: Callable[[Client | Follower], Awaitable[T]]) -> T:
        if self._ending is not None:
            await asyncio.gather(self._ending, return_exceptions=True)  # a session that failed lets the home go first
        for _ in range(HANDOVERS):
            session = await self._current()
            with contextlib.suppress(control.HolderGone):
                return await call(session)
        raise control.HolderGone(f"{self._home} changes hands too fast")

    async def _current(self) -> Client | Follower:
        async with self._opening:
            session = self._session
            if session is None or (isinstance(session, Follower) and session.gone):
                if session is not None:
                    await session.close()
                self._session = None
                session = self._session = await self._acquire()
                for job in list(self._lives):
                    await session.reopen(job)
            return session

    async def _acquire(self) -> Client | Follower:
        """Hold the home, or follow whoever does."""
        until = time.monotonic() + self._seconds
        while True:
            if self._lock.take():
                return await self._hold()
            with contextlib.suppress(OSError, AttributeError):  # no Unix sockets here: nobody to follow
                return await Follower.connect(self._home, self._lives, self._gone)
            if time.monotonic() > until:
                raise ConfigError(
                    f"{self._home} is held by another process that does not answer; end it, then try again"
                )
            await asyncio.sleep(RETRY_SECONDS)

    async def _hold(self) -> Client:
        client = Client(self._home, self._lives, self._failed)
        try:
            await client.open(self._seconds)
            holder = Holder(self._home, client)
            if hasattr(asyncio, "start_unix_server"):
                await holder.start()
        except BaseException:
            await client.close()
            self._lock.release()
            raise
        self._holder = holder
        return client

    def _failed(self, error: PropolisError) -> None:
        """Our session ended by itself: say so to whoever waits here, and let the home go so that a next try starts afresh."""
        self._failure = error
        self._ending = asyncio.get_running_loop().create_task(self._let_go())

    def _gone(self) -> None:
        """The holder ended: take its place soon, so that what waits here goes on."""
        if self._taking is None or self._taking.done():
            self._taking = asyncio.get_running_loop().create_task(self._take_over())

    async def _take_over(self) -> None:
        while True:
            try:
                await self._current()
            except PropolisError as error:
                log.info("taking the home over: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return
