"""One guest in a process of its own, whatever confines it: order, grant, load, feed, and an end that is certain."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from propolis.adapters.executor.pipes import GuestPipes
from propolis.messages import codec
from propolis.messages import guest as frames
from propolis.ports.executor import GuestOrder, TaskInput, TaskOutput
from propolis.terms.capability import Isolation
from propolis.terms.errors import Crashed, MalformedMessage, Overran, PropolisError, SealBroken
from propolis.terms.job import MAX_TASK_BYTES

BOOT_SECONDS = 10.0
LOAD_SECONDS = 60.0
GRACE = 1.0
BATCH_BYTES = 32 * 1024 * 1024

T = TypeVar("T")
End = Callable[[], Awaitable[None]]


class ProcessGuest:
    """The agent's handle of one guest process."""

    def __init__(self, pipes: GuestPipes, pid: int, order: GuestOrder, end: End) -> None:
        self._pipes = pipes
        self._pid = pid
        self._order = order
        self._end = end
        self._key = b""
        self._isolation: Isolation | None = None
        self._queued = 0
        self._moved = time.monotonic()
        self._granted = False

    @classmethod
    async def begin(cls, pipes: GuestPipes, pid: int, order: GuestOrder, end: End) -> "ProcessGuest":
        """Give a fresh guest its order and take its key. Raises Crashed, Overran; the guest is gone then."""
        guest = cls(pipes, pid, order, end)
        text = frames.Order(job=order.job, guest=order.guest, kind=order.kind, memory_mb=order.needs.memory_mb)
        pipes.write(frames.frame(frames.Tag.ORDER, codec.encode(text)))
        born: frames.Born = await guest._read(await guest._expect(frames.Tag.KEY, BOOT_SECONDS), frames.Born)
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
        self._pipes.write(frames.frame(frames.Tag.GRANT, sealed))
        await self._expect(frames.Tag.GRANTED, BOOT_SECONDS)

    async def load(self, program: bytes | memoryview) -> None:
        """Hand over the sealed program."""
        view = memoryview(program)
        for start in range(0, len(view), frames.PIECE):
            self._pipes.write(frames.frame(frames.Tag.PIECE, bytes(view[start : start + frames.PIECE])))
        self._pipes.write(frames.frame(frames.Tag.LOAD))
        loaded: frames.Loaded = await self._read(await self._expect(frames.Tag.LOADED, LOAD_SECONDS), frames.Loaded)
        self._isolation = loaded.isolation

    async def run(self, inputs: Sequence[TaskInput]) -> None:
        """Queue sealed inputs."""
        if not self._queued:
            self._moved = time.monotonic()
        self._queued += len(inputs)
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
        self._pipes.write(frames.batch_frame(frames.Tag.TASKS, head, [item.sealed for item in items]))

    async def outputs(self) -> list[TaskOutput]:
        """Wait for results; a task that takes longer than it declared costs the guest its life."""
        found: list[TaskOutput] = []
        while not found or self._pipes.has_frames:
            tag, payload = await self._next()
            if tag is frames.Tag.BROKEN:
                broken: frames.Broken = await self._read(payload, frames.Broken)
                await self.kill()
                raise SealBroken(f"task {broken.index}: {broken.reason}")
            if tag is not frames.Tag.RESULTS:
                await self.kill()
                raise Crashed(f"the guest sent {tag.name} out of turn")
            found += await self._opened(payload)
            self._moved = time.monotonic()
        return found

    async def _opened(self, payload: bytes) -> list[TaskOutput]:
        try:
            batch, bodies = frames.open_batch(payload)
        except MalformedMessage as error:
            await self.kill()
            raise Crashed(f"the guest sent nonsense: {error}") from error
        times = batch.milliseconds if len(batch.milliseconds) == len(bodies) else (0.0,) * len(bodies)
        self._queued = max(0, self._queued - len(bodies))
        if any(len(body) > MAX_TASK_BYTES for body in bodies):
            await self.kill()
            raise Overran(f"a result is over {MAX_TASK_BYTES >> 20} MiB")
        rows = zip(batch.indices, batch.attempts, bodies, times, strict=True)
        return [TaskOutput(index=i, attempt=a, sealed=bytes(body), milliseconds=ms) for i, a, body, ms in rows]

    async def _next(self) -> tuple[frames.Tag, bytes]:
        """Return the next frame, or end the guest when its current task is overdue. Idle guests are never overdue."""
        while True:
            limit = self._order.needs.task_seconds + GRACE
            left = limit - (time.monotonic() - self._moved) if self._queued else limit
            try:
                return await self._pipes.next(max(0.01, left))
            except TimeoutError:
                if self._queued and time.monotonic() - self._moved >= limit:
                    await self.kill()
                    raise Overran(f"a task ran longer than its {self._order.needs.task_seconds:g} s") from None
            except Crashed:
                await self.kill()
                raise

    async def _expect(self, wanted: frames.Tag, seconds: float) -> bytes:
        try:
            tag, payload = await self._pipes.next(seconds)
        except TimeoutError:
            await self.kill()
            raise Overran(f"the guest did not answer within {seconds:g} s") from None
        except PropolisError as error:
            await asyncio.sleep(0.02)  # let its last words arrive
            said = [] if self._granted else self._pipes.stderr().strip().splitlines()
            await self.kill()
            raise Crashed(f"{error}{': ' + said[-1] if said else ''}"[:500]) from error
        if tag is frames.Tag.BROKEN:
            broken: frames.Broken = await self._read(payload, frames.Broken)
            await self.kill()
            raise SealBroken(broken.reason)
        if tag is not wanted:
            await self.kill()
            raise Crashed(f"the guest sent {tag.name}, wanted {wanted.name}")
        return payload

    async def _read(self, payload: bytes, kind: type[T]) -> T:
        """Return what a guest says; one that says nonsense is ended. Raises Crashed."""
        try:
            return codec.decode(payload, kind)
        except MalformedMessage as error:
            await self.kill()
            raise Crashed(f"the guest sent nonsense: {error}") from error

    async def kill(self) -> None:
        """End the guest for certain."""
        self._pipes.close()
        await self._end()

    async def stderr(self) -> str:
        """The last 64 kB of its complaints."""
        return self._pipes.stderr()
