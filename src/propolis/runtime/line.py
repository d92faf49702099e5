"""One peer's channel: what waits to be written to it, and the tasks that live as long as it does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from propolis.messages.envelope import Segment
from propolis.ports.wire import Channel, Stream
from propolis.terms.errors import PropolisError, WireError
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)

CONTROL = b"C"
BLOB = b"B"
FIRST_WORD_SECONDS = 3.0
"""How long a channel or stream others opened may take to say what it came for."""

OnBlob = Callable[[NodeId, Stream], Awaitable[None]]


SLICE = 256 * 1024


class Counted:
    """A stream whose written bytes count for its line as they are taken, so that slow is told from standing still."""

    def __init__(self, stream: Stream, line: "Line") -> None:
        self._stream = stream
        self._line = line
        self.read = stream.read
        self.finish = stream.finish
        self.reset = stream.reset

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all, a slice at a time. Raises PeerUnreachable."""
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            await self._stream.write(view[start : start + SLICE])
            self._line.moved += min(SLICE, len(view) - start)


class Line:
    """A channel with its control stream, once it has one. `moved`: bytes its lent streams gave the peer."""

    def __init__(self, channel: Channel, *, ours: bool) -> None:
        self.channel = channel
        self.ours = ours
        self.stream: Stream | None = None
        self.waiting: list[Segment] = []
        self.size = 0
        self.wake = asyncio.Event()
        self.closing = False
        self.moved = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, *works: Coroutine[Any, Any, None]) -> None:
        """Let work live as long as the line."""
        for work in works:
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def lend(self, on_blob: OnBlob, stream: Stream) -> None:
        """Serve one of the peer's blob streams."""
        self.run(self._lend(on_blob, stream))

    async def _lend(self, on_blob: OnBlob, stream: Stream) -> None:
        served = False
        try:
            await on_blob(self.channel.peer, Counted(stream, self))
            served = True  # it ended its side, and the last answer may still be on its way: not reset
        except (WireError, TimeoutError) as error:
            log.debug("%s: %s", self.channel.peer[:4].hex(), error)
        except PropolisError as error:  # our store, for one: the visitor gets nothing, the line goes on
            log.warning("%s is not served: %s", self.channel.peer[:4].hex(), error)
        finally:
            if not served:
                await stream.reset()

    async def end(self) -> None:
        """Cancel what lives here, the caller excepted, and close the channel."""
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await self.channel.close()
