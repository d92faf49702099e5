"""Questions of an owner's client that the orchestrator answers: each waits under its ticket, for a bounded time."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from propolis.protocols.machine import Event
from propolis.terms.errors import PeerUnreachable, PropolisError

ANSWER_SECONDS = 10.0


class Asking:
    """The open questions of one session."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """`tell` hands an event to the party; raises where there is none."""
        self._tell = tell
        self._tickets = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def answer(self, question: Callable[[int], Event]) -> Any:
        """Ask, under a fresh ticket, and return the answer's note. Raises PeerUnreachable, what ended the session."""
        ticket = next(self._tickets)
        future = self._open[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._tell(question(ticket))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError as error:
            raise PeerUnreachable("the orchestrator does not answer") from error
        finally:
            self._open.pop(ticket, None)

    def answered(self, ticket: int, note: Any) -> None:
        """The answer is here; an unknown or late one is nobody's."""
        future = self._open.get(ticket)
        if future is not None and not future.done():
            future.set_result(note)

    def fail(self, error: PropolisError) -> None:
        """No answer comes any more."""
        for future in self._open.values():
            if not future.done():
                future.set_exception(error)
