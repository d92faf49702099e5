"""One guest in a process of its own, whatever confines it: order, grant, load, feed, and an end that is certain."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from propolis.adapters.executor.pipes import PIPE_BYTES, GuestPipes
from propolis.messages import codec
from propolis.messages import guest as frames
from propolis.ports.executor import GuestOrder, Pieces, TaskInput, TaskOutput
from propolis.terms.capability import Isolation
from propolis.terms.errors import Crashed, CustodyError, ExecutorError, MalformedMessage, Overran, SealBroken
from propolis.terms.job import MAX_TASK_BYTES, Kind

BOOT_SECONDS = 10.0
LOAD_SECONDS = 10.0
"""What loading may take beyond one task's time: packages are imported, models built."""

LOAD_BYTES_PER_SECOND = 4 * 1024 * 1024
"""A larger program is given longer: at least this much of it must be opened and built each second."""

GRACE = 1.0
BATCH_BYTES = PIPE_BYTES // 2
"""Of one frame of tasks, if it holds more than one: while a guest computes it, the next one waits whole in the pipe."""

T = TypeVar("T")
End = Callable[[], Awaitable[None]]


async def pieces_of(program: bytes | memoryview | Pieces) -> AsyncIterator[bytes]:
    """Yield the program in pieces, wherever it is."""
    if isinstance(program, bytes | memoryview):
        view = memoryview(program)
        for start in range(0, len(view), frames.PIECE):
            yield bytes(view[start : start + frames.PIECE])
        return
    async for piece in program:
        yield piece


class ProcessGuest:
    """The agent's handle of one guest process."""

    def __init__(self, pipes: GuestPipes, pid: int, order: GuestOrder, end: End) -> None:
        self._pipes = pipes
        self._pid = pid
        self._order = order
        self._end = end
        self._key = b""
        self._isolation: Isolation | None = None
        self._owed: deque[tuple[int, int]] = deque()  # (index, attempt) in the order they were queued
        self._ending: asyncio.Future[None] | None = None
        self._moved = time.monotonic()
        self._granted = False

    @classmethod
    async def begin(cls, pipes: GuestPipes, pid: int, order: GuestOrder, end: End) -> "ProcessGuest":
        """Give a fresh guest its order and take its key. Raises Crashed, Overran; the guest is gone then."""
        guest = cls(pipes, pid, order, end)
        async with guest._alive_or_ended():
            text = frames.Order(job=order.job, guest=order.guest, kind=order.kind, memory_mb=order.needs.memory_mb)
            pipes.write(frames.frame(frames.Tag.ORDER, codec.encode(text)))
            born: frames.Born = codec.decode(await guest._expect(frames.Tag.KEY, BOOT_SECONDS), frames.Born)
            guest._key, guest._isolation = born.key, born.isolation
        return guest

    @property
    def key(self) -> bytes:
        """The guest's public key."""
        return self._key

    @property
    def isolation(self) -> Isolation:
        """What the guest runs under."""
        assert self._isolation is not None
        return self._isolation

    @property
    def pid(self) -> int:
        """Host pid of the outermost process."""
        return self._pid

    async def grant(self, sealed: bytes) -> None:
        """Hand over the sealed grant."""
        self._granted = True  # from here on the guest can open what is sealed: its words stay on this machine
        async with self._alive_or_ended():
            self._pipes.write(frames.frame(frames.Tag.GRANT, sealed))
            await self._expect(frames.Tag.GRANTED, BOOT_SECONDS)

    async def load(self, program: bytes | memoryview | Pieces) -> None:
        """Hand over the sealed program, a piece when the one before is taken."""
        size = len(program) if isinstance(program, bytes | memoryview) else program.size
        limit = self._order.needs.task_seconds + LOAD_SECONDS + size / LOAD_BYTES_PER_SECOND
        async with self._alive_or_ended():
            try:
                async with asyncio.timeout(limit):
                    async for piece in pieces_of(program):
                        self._pipes.write(*frames.piece_frame(piece))
                        await self._pipes.drained()
            except TimeoutError:
                raise Overran(f"the guest did not take its program within {limit:g} s") from None
            self._pipes.write(frames.frame(frames.Tag.LOAD))
            loaded: frames.Loaded = codec.decode(await self._expect(frames.Tag.LOADED, limit), frames.Loaded)
            # The program has run by now and may speak for the guest: nothing but the lock is taken from it, and that only
            # where no code of the owner's runs.
            locked = loaded.isolation.lock and self._order.kind is Kind.INFERENCE
            self._isolation = msgspec.structs.replace(self.isolation, lock=locked)

    async def run(self, inputs: Sequence[TaskInput]) -> None:
        """Queue sealed inputs."""
        if not self._owed:
            self._moved = time.monotonic()
        self._owed.extend((item.index, item.attempt) for item in inputs)
        batch: list[TaskInput] = []
        size = 0
        for item in inputs:
            if batch and size + len(item.sealed) > BATCH_BYTES:
                self._send(batch)
                batch, size = [], 0
            batch.append(item)
            size += len(item.sealed)
        if batch:
            self._send(batch)

    def _send(self, items: list[TaskInput]) -> None:
        head = frames.Batch(
            indices=tuple(item.index for item in items),
            attempts=tuple(item.attempt for item in items),
            sizes=tuple(len(item.sealed) for item in items),
        )
        self._pipes.write(*frames.batch_segments(frames.Tag.TASKS, head, [item.sealed for item in items]))

    async def outputs(self) -> list[TaskOutput]:
        """Wait for results; a task that takes longer than it declared costs the guest its life."""
        found: list[TaskOutput] = []
        async with self._alive_or_ended():
            while not found or self._pipes.has_frames:
                tag, payload = await self._next()
                if tag is frames.Tag.BROKEN:
                    broken: frames.Broken = codec.decode(payload, frames.Broken)
                    where = f"task {broken.index}: " if (broken.index, broken.attempt) in self._owed else ""
                    raise SealBroken(f"{where}{self._complaint(broken)}")
                if tag is not frames.Tag.RESULTS:
                    raise Crashed(f"the guest sent {tag.name} out of turn")
                found += self._opened(payload)
                self._moved = time.monotonic()
        return found

    def _opened(self, payload: frames.Segment) -> list[TaskOutput]:
        """Return the results in a frame. Only what is owed counts, in the order it was asked for, each once; an empty
        frame would be a way to move the time limit. Raises MalformedMessage, Crashed, Overran."""
        batch, bodies = frames.open_batch(payload)
        if not bodies:
            raise Crashed("the guest sent results of nothing")
        times = batch.milliseconds if len(batch.milliseconds) == len(bodies) else (0.0,) * len(bodies)
        found: list[TaskOutput] = []
        for index, attempt, body, spent in zip(batch.indices, batch.attempts, bodies, times, strict=True):
            if not self._owed or self._owed.popleft() != (index, attempt):
                raise Crashed(f"the guest sent a result nobody asked for next: task {index}, attempt {attempt}")
            if len(body) > MAX_TASK_BYTES:
                raise Overran(f"a result is over {MAX_TASK_BYTES >> 20} MiB")
            found.append(TaskOutput(index=index, attempt=attempt, sealed=bytes(body), milliseconds=spent))
        return found

    async def _next(self) -> tuple[frames.Tag, frames.Segment]:
        """Return the next frame. Raises Overran when the current task is overdue; idle guests are never overdue."""
        limit = self._order.needs.task_seconds + GRACE
        while True:
            left = limit - (time.monotonic() - self._moved) if self._owed else limit
            try:
                return await self._pipes.next(max(0.01, left))
            except TimeoutError:
                if self._owed and time.monotonic() - self._moved >= limit:
                    raise Overran(f"a task ran longer than its {self._order.needs.task_seconds:g} s") from None

    async def _expect(self, wanted: frames.Tag, seconds: float) -> frames.Segment:
        try:
            tag, payload = await self._pipes.next(seconds)
        except TimeoutError:
            raise Overran(f"the guest did not answer within {seconds:g} s") from None
        except Crashed as error:
            await asyncio.sleep(0.02)  # let its last words arrive
            said = [] if self._granted else self._pipes.stderr().strip().splitlines()
            raise Crashed(f"{error}{': ' + said[-1] if said else ''}"[:500]) from error
        if tag is frames.Tag.BROKEN:
            broken: frames.Broken = codec.decode(payload, frames.Broken)
            raise SealBroken(self._complaint(broken))
        if tag is not wanted:
            raise Crashed(f"the guest sent {tag.name}, wanted {wanted.name}")
        return payload

    def _complaint(self, broken: frames.Broken) -> str:
        """Return what is told of a guest's complaint: once it holds a key its own words stay on this machine."""
        if not self._granted or broken.reason in frames.COMPLAINTS:
            return broken.reason
        return "the guest could not open what it was given"

    @contextlib.asynccontextmanager
    async def _alive_or_ended(self) -> AsyncIterator[None]:
        """Whatever is raised inside, the guest is dead and reaped before anyone hears of it, and what they hear is typed."""
        try:
            yield
        except MalformedMessage as error:
            await self.kill()
            raise Crashed(f"the guest sent nonsense: {error}") from error
        except (ExecutorError, CustodyError):
            await self.kill()
            raise
        except Exception as error:
            await self.kill()
            raise Crashed(f"the guest could not be served: {error!r}"[:500]) from error
        except BaseException:  # we are cancelled: nobody will ask for this guest again
            await self.kill()
            raise

    async def kill(self) -> None:
        """End the guest for certain; asked for once, as its number may be another's later, and not undone by a cancel."""
        self._pipes.close()
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def stderr(self) -> str:
        """The last 64 kB of its complaints."""
        return self._pipes.stderr()
