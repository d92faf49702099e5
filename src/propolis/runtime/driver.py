"""The async driver: runs one party for real. Events in, one commit, then actions out: write, then send.

Each round takes every queued event, lets the party handle it, commits all writes of the round at once, and only then lets
anything leave. Work runs beside it as tasks whose answers come back as events. Whatever the
party or the commit raises ends the driver, by name; what work raises is that work's failure alone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from propolis.ports.clock import Clock
from propolis.ports.store import Store, Write
from propolis.protocols.machine import Action, Event, Machine, Persist, Tell, TimePassed, Work, WorkDone, WorkFailed
from propolis.terms.errors import PropolisError, ProtocolMisuse, StoreFull

log = logging.getLogger(__name__)

Handler = Callable[[Any], Awaitable[Any] | None]
"""Does an action. For Work: an awaitable whose result is the answer. For others: done at once, returns None."""


class Driver:
    """Runs one party until `stop` or a failure. All methods belong to the event loop's thread."""

    def __init__(
        self,
        party: Machine,
        *,
        clock: Clock,
        store: Store,
        tell: Callable[[Any], None] | None = None,
        failed: Callable[[PropolisError], None] | None = None,
    ) -> None:
        """`tell` hears the party's notes; `failed` is told what ended the driver, for those who do not `join` it."""
        self.party = party
        self._clock = clock
        self._store = store
        self._tell = tell or (lambda note: None)
        self._failed = failed or (lambda error: None)
        self._handlers: dict[type[Action], Handler] = {}
        self._inbox: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._after_round: list[Callable[[], None]] = []

    def on(self, kind: type[Action], handler: Handler) -> None:
        """Say who does actions of a kind; before `start`."""
        self._handlers[kind] = handler

    def after_round(self, call: Callable[[], None]) -> None:
        """Call this when a round's actions are out: the post flushes its writers here."""
        self._after_round.append(call)

    def post(self, event: Event) -> None:
        """Queue an event."""
        self._inbox.append(event)
        self._wake.set()

    def start(self, *first: Action) -> None:
        """Begin; `first` are actions to do before any event."""
        self._task = asyncio.create_task(self._run(first))

    async def join(self) -> None:
        """Wait for the end; raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """End: no further event is handled, work is cancelled."""
        tasks = [task for task in (self._task, *self._work) if task is not None]
        if self._timer is not None:
            self._timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the loop

    async def _run(self, first: tuple[Action, ...]) -> None:
        try:
            self._round(list(first))
            self.post(TimePassed())
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._round([])
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.log(logging.ERROR, "the driver ends: %s", error, exc_info=not isinstance(error, StoreFull))
            self._failed(error if isinstance(error, PropolisError) else ProtocolMisuse(repr(error)))
            raise

    def _round(self, actions: list[Action]) -> None:
        now = self._clock.now()
        while self._inbox:
            actions += self.party.handle(self._inbox.popleft(), now)
        writes: list[Write] = []
        for action in actions:
            if isinstance(action, Persist):
                writes += action.writes
        if writes:
            self._store.commit(writes)
        for action in actions:
            if not isinstance(action, Persist):
                self._do(action)
        for call in self._after_round:
            call()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.party.deadline()
        if due is not None and due != float("inf"):
            delay = max(0.0, due - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self.post, TimePassed())

    def _do(self, action: Action) -> None:
        if isinstance(action, Tell):
            self._tell(action.note)
            return
        handler = self._handlers.get(type(action))
        if handler is None:
            raise ProtocolMisuse(f"nobody here does {type(action).__name__}")
        answer = handler(action)
        if answer is not None:
            task = asyncio.ensure_future(self._answer(action, answer))
            self._work.add(task)
            task.add_done_callback(self._work.discard)
            if asyncio.iscoroutine(answer):  # work cancelled before its first step is closed, not forgotten
                task.add_done_callback(lambda _: answer.close())

    async def _answer(self, action: Action, answer: Awaitable[Any]) -> None:
        ticket = action.ticket if isinstance(action, Work) else 0
        try:
            result = await answer
        except PropolisError as error:
            if isinstance(action, Work):
                self.post(WorkFailed(ticket, error.code, str(error)))
            else:
                log.warning("%s: %s", type(action).__name__, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("%s failed", type(action).__name__)
            if isinstance(action, Work):
                self.post(WorkFailed(ticket, "misuse", repr(error)))
        else:
            if isinstance(action, Work):
                self.post(WorkDone(ticket, result))
