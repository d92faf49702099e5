"""The door: takes the channels others open, and learns within seconds what each came for. Bounded, whoever comes.

The first byte of a newcomer's first stream says it: `C`, to talk (the line goes to the post); or `B`, for sealed chunks,
where visitors may have them. Whoever says nothing, or something else, is hung up on. A visitor stays as long as it takes its
chunks at a least pace (runtime/pace.py). At a full door the one that stands there longest makes room
for the next, of the peer that stands there most often.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from propolis.ports.wire import Stream, Wire
from propolis.runtime.line import BLOB, CONTROL, FIRST_WORD_SECONDS, Line, OnBlob
from propolis.runtime.pace import Pace
from propolis.terms.errors import PeerUnreachable, WireError

log = logging.getLogger(__name__)

MAX_WAITING = 1024


class Door:
    """Newcomers and visitors of one party. `on_visit`: who serves peers that come for chunks alone; None: nobody."""

    def __init__(self, settle: Callable[[Line], None], room: Callable[[], bool], on_visit: OnBlob | None) -> None:
        self._settle = settle
        self._room = room
        self._on_visit = on_visit
        self._pace = Pace
        self._inside: dict[Line, None] = {}  # oldest first
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, wire: Wire) -> None:
        """Begin to accept the wire's channels."""
        self._run(self._accept(wire))

    async def close(self) -> None:
        """Accept nobody any more, see everybody off."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in list(self._inside):
            await line.end()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, wire: Wire) -> None:
        while True:
            try:
                channel = await wire.accept()
            except PeerUnreachable:
                return
            if not self._room():
                await channel.close()
                continue
            if len(self._inside) >= MAX_WAITING:
                self._make_room()
            line = Line(channel, ours=False)
            self._inside[line] = None
            self._run(self._greet(line))

    def _make_room(self) -> None:
        """See off the oldest of whoever has most lines here: one peer that comes a thousand times sends nobody else away."""
        held = Counter(line.channel.peer for line in self._inside)
        most = max(held.values())
        oldest = next(line for line in self._inside if held[line.channel.peer] == most)
        del self._inside[oldest]
        self._run(oldest.end())

    async def _greet(self, line: Line) -> None:
        stays = False
        try:
            async with asyncio.timeout(FIRST_WORD_SECONDS):
                stream = await line.channel.accept_stream()
                kind = await stream.read(1)
            if kind == CONTROL:
                line.stream, stays = stream, True
                self._settle(line)
            pace = self._pace(asyncio.get_running_loop().time())
            while kind == BLOB and self._on_visit is not None:
                line.lend(self._on_visit, stream)
                stream = await _next_stream(line, pace)
                async with asyncio.timeout(FIRST_WORD_SECONDS):
                    kind = await stream.read(1)
        except (WireError, TimeoutError) as error:
            log.debug("%s came and went: %s", line.channel.peer[:4].hex(), error)
        finally:
            self._inside.pop(line, None)
        if not stays:
            await line.end()


async def _next_stream(line: Line, pace: Pace) -> Stream:
    """Wait for a visitor's next stream, as long as the visit goes on. Raises TimeoutError when it does not."""
    loop, coming = asyncio.get_running_loop(), asyncio.ensure_future(line.channel.accept_stream())
    try:
        while not pace.over(loop.time(), line.moved):
            done, _ = await asyncio.wait({coming}, timeout=max(0.0, pace.ends - loop.time()))
            if done:
                return coming.result()
        raise TimeoutError("the visit stands still")
    finally:
        coming.cancel()
