"""The stand-in executor: guests inside this process, with the real keys and seals and no isolation whatever.

For tests of what lies above the executor. No assembly can reach it (import contract 6).
"""

import asyncio
import ctypes
import threading
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from propolis.crypto import granting, sealing
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.ports.executor import GuestOrder, Pieces, TaskInput, TaskOutput
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Crashed, Overran, SealBroken
from propolis.terms.identity import GuestId, JobId

NOTE = "rehearsed: no isolation, for tests only"


class RehearsedGuest:
    """A guest that is only an object."""

    def __init__(self, order: GuestOrder) -> None:
        self._order = order
        self._private = X25519PrivateKey.generate()
        self._key = self._private.public_key().public_bytes_raw()
        self._roots: granting.Roots | None = None
        self._compute: Callable[..., object] | None = None
        self._attempt = -1  # the highest seen
        self._results: asyncio.Queue[TaskOutput | Exception] = asyncio.Queue()
        self._queue: asyncio.Queue[TaskInput] = asyncio.Queue()
        self._runner: asyncio.Task[None] | None = None
        self._dead = False

    @property
    def key(self) -> bytes:
        """The guest's public key."""
        return self._key

    @property
    def isolation(self) -> Isolation:
        """None."""
        return Isolation(rung=Rung.BARE, notes=(NOTE,))

    @property
    def pid(self) -> int:
        """No process."""
        return 0

    async def grant(self, sealed: bytes) -> None:
        """Open the grant."""
        job, guest = JobId(self._order.job), GuestId(self._order.guest)
        self._roots = granting.open_grant(self._private, job, guest, sealed)

    async def load(self, program: bytes | memoryview | Pieces) -> None:
        """Open a function; models are for real executors."""
        if not isinstance(program, bytes | memoryview):
            program = b"".join([piece async for piece in program])
        if self._roots is None:
            raise SealBroken("no grant yet")
        plain: Program = codec.decode(
            sealing.open_program(self._roots.program, JobId(self._order.job), program), Program
        )
        space: dict[str, object] = {}
        exec(compile(plain.source, "<job>", "exec"), space)  # noqa: S102  test code of our own
        self._compute = space[plain.entry]  # type: ignore[assignment]
        self._runner = asyncio.create_task(self._work())

    async def run(self, inputs: Sequence[TaskInput]) -> None:
        """Queue inputs."""
        for item in inputs:
            self._queue.put_nowait(item)

    async def outputs(self) -> list[TaskOutput]:
        """Wait for results."""
        first = await self._results.get()
        if isinstance(first, Exception):
            self._results.put_nowait(first)
            raise first
        return [first]

    async def kill(self) -> None:
        """End it."""
        self._dead = True
        if self._runner is not None:
            self._runner.cancel()
        self._results.put_nowait(Crashed("the guest was ended"))

    async def stderr(self) -> str:
        """Nothing is written."""
        return ""

    async def _work(self) -> None:
        while not self._dead:
            item = await self._queue.get()
            try:
                limit = self._order.needs.task_seconds
                async with asyncio.timeout(limit + 1):
                    sealed = await _in_thread(lambda item=item: self._task(item))  # type: ignore[misc]
                output = TaskOutput(index=item.index, attempt=item.attempt, sealed=sealed, milliseconds=0.1)
                self._results.put_nowait(output)
            except TimeoutError:
                self._results.put_nowait(Overran("a task ran too long"))
            except SealBroken as error:
                self._results.put_nowait(error)

    def _task(self, item: TaskInput) -> bytes:
        assert self._roots is not None
        assert self._compute is not None
        if item.attempt <= self._attempt:
            raise SealBroken("this attempt is not newer than the last")
        plain = sealing.open_input(self._roots.inputs, JobId(self._order.job), item.index, item.sealed)
        self._attempt = item.attempt
        try:
            outcome = values.Outcome(ok=True, value=values.encode(self._compute(values.decode(plain))))
        except Exception as error:  # noqa: BLE001  the job's own error is its outcome
            outcome = values.Outcome(ok=False, error=repr(error))
        job, guest = JobId(self._order.job), GuestId(self._order.guest)
        return sealing.seal_result(self._roots.results, job, guest, item.index, item.attempt, codec.encode(outcome))


async def _in_thread(call: Callable[[], bytes]) -> bytes:
    """Run in a thread of its own, which ends when the waiter is cancelled: a loop for ever would starve this process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result or b"")

    def body() -> None:
        try:
            result = call()
        except SystemExit:
            return  # ended with its waiter
        except Exception as error:  # noqa: BLE001  carried over to the waiter
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        return await done
    except asyncio.CancelledError:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        raise


class RehearsedExecutor:
    """Guests inside this process."""

    async def probe(self) -> Isolation:
        """Nothing is reached."""
        return Isolation(rung=Rung.BARE, notes=(NOTE,))

    async def start(self, order: GuestOrder) -> RehearsedGuest:
        """Make a guest."""
        return RehearsedGuest(order)

    def warm(self, slot: int) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to close."""
