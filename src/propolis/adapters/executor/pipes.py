"""The agent's end of a guest: frames over two non-blocking pipes, with deadlines, and the last 64 kB of its stderr."""

import asyncio
import fcntl
import os
from collections import deque
from itertools import islice

from propolis.messages import guest as frames
from propolis.terms.errors import Crashed, MalformedMessage

PIPE_BYTES = 1024 * 1024
STDERR_KEPT = 64 * 1024
READ_BYTES = 1024 * 1024
GATHERED = 256  # segments in one write; the kernel takes 1,024


def pipe() -> tuple[int, int]:
    """Return a pipe with a large buffer where the kernel allows it."""
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, 1031, PIPE_BYTES)  # F_SETPIPE_SZ
    except OSError:
        pass  # over the user's pipe quota: the default size is slower, not wrong
    return read, write


class GuestPipes:
    """Frames to and from one guest process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        guest_in, self._to = pipe()
        self._from, guest_out = pipe()
        self._errors, guest_errors = pipe()
        self.theirs = [guest_in, guest_out, guest_errors]
        self._frames = frames.Frames()
        self._inbox: deque[tuple[frames.Tag, frames.Segment]] = deque()
        self._arrived = asyncio.Event()
        self._outbox: deque[memoryview] = deque()
        self._writing = False
        self._empty = asyncio.Event()
        self._tail = bytearray()
        self.broken: Exception | None = None
        for descriptor in (self._to, self._from, self._errors):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(self._from, self._readable)
        self._loop.add_reader(self._errors, self._complained)

    def given(self) -> None:
        """The guest has its ends; close ours of them."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = []

    def write(self, *segments: frames.Segment) -> None:
        """Queue bytes for the guest; never blocks. They are not copied: leave them as they are."""
        if self.broken is not None:
            return
        self._outbox.extend(memoryview(segment) for segment in segments if len(segment))
        if not self._writing:
            self._writable()

    async def drained(self) -> None:
        """Wait until the guest took what was queued. Raises Crashed when it is gone."""
        while self._outbox and self.broken is None:
            self._empty.clear()
            await self._empty.wait()
        if self.broken is not None:
            raise self.broken

    async def next(self, seconds: float | None) -> tuple[frames.Tag, frames.Segment]:
        """Return the next frame. Raises Crashed when the guest is gone, TimeoutError past the deadline."""
        while not self._inbox:
            if self.broken is not None:
                raise self.broken
            self._arrived.clear()
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        return self._inbox.popleft()

    @property
    def has_frames(self) -> bool:
        """Whether `next` returns at once."""
        return bool(self._inbox)

    def stderr(self) -> str:
        """Return the last of what the guest complained about."""
        return self._tail.decode("utf-8", "replace")

    def fail(self, error: Exception) -> None:
        """The guest is gone: wake whoever waits."""
        if self.broken is None:
            self.broken = error
        self._outbox.clear()
        self._empty.set()
        self._arrived.set()

    def close(self) -> None:
        """Give the descriptors back; idempotent."""
        self.given()
        for descriptor in (self._from, self._errors):
            if descriptor >= 0:
                self._loop.remove_reader(descriptor)
        if self._writing:
            self._loop.remove_writer(self._to)
        for descriptor in (self._to, self._from, self._errors):
            if descriptor >= 0:
                os.close(descriptor)
        self._to = self._from = self._errors = -1
        self._writing = False
        self.fail(Crashed("the guest was ended"))

    def _readable(self) -> None:
        try:
            data = os.read(self._from, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._from)
            self.fail(Crashed("the guest ended by itself"))
            return
        try:
            self._inbox.extend(self._frames.feed(data))
        except MalformedMessage as error:
            self._loop.remove_reader(self._from)
            self.fail(Crashed(f"the guest sent nonsense: {error}"))
        self._arrived.set()

    def _complained(self) -> None:
        try:
            data = os.read(self._errors, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._errors)
        self._tail += data
        del self._tail[:-STDERR_KEPT]

    def _writable(self) -> None:
        try:
            while self._outbox:
                self._left(os.writev(self._to, list(islice(self._outbox, GATHERED))))
        except BlockingIOError:
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self._to, self._writable)
            return
        except OSError:
            self._outbox.clear()  # the reader sees the end
        self._empty.set()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._to)

    def _left(self, written: int) -> None:
        """Take what was written off the outbox."""
        while written:
            first = self._outbox[0]
            if written < len(first):
                self._outbox[0] = first[written:]
                return
            written -= len(first)
            self._outbox.popleft()
