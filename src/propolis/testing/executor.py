"""What every executor must do, and the owner's half of a job to do it with."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from propolis.crypto import granting, sealing
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.ports.executor import Executor, Guest, GuestOrder, TaskInput, TaskOutput
from propolis.terms.errors import Crashed, Overran, SealBroken
from propolis.terms.identity import GuestId, JobId
from propolis.terms.job import Kind, Needs

Make = Callable[[], Awaitable[Executor]]
DOUBLE = "def main(x):\n    print('seen', x)\n    return x * 2\n"


class Owner:
    """An owner with one job, for tests of what runs it."""

    def __init__(self, source: str = DOUBLE, *, kind: Kind = Kind.FUNCTION, model: bytes = b"", **needs: Any) -> None:
        self.secret, self.job = secrets.token_bytes(32), JobId(secrets.token_bytes(16))
        self.attempt = 0
        self.keys: dict[bytes, bytes] = {}  # guest -> the key it was granted to
        self.kind, self.needs = kind, Needs(**needs)
        self.program = Program(kind=kind, source=source, entry="main", model=model, packages=())

    def order(self, slot: int = 0) -> GuestOrder:
        """Return an order for a fresh guest."""
        guest = secrets.token_bytes(16)
        return GuestOrder(job=self.job, guest=guest, owner=bytes(32), kind=self.kind, needs=self.needs, slot=slot)

    def sealed_program(self) -> bytes:
        """Return the sealed program."""
        root = sealing.program_root(self.secret, self.job)
        return b"".join(sealing.seal_program(root, self.job, codec.encode(self.program)))

    def sealed(self, index: int, value: Any) -> TaskInput:
        """Return one sealed input, under a fresh attempt: in a guest their numbers only grow."""
        self.attempt += 1
        root = sealing.input_root(self.secret, self.job)
        return TaskInput(
            index=index, attempt=self.attempt, sealed=sealing.seal_input(root, self.job, index, values.encode(value))
        )

    def opened(self, order: GuestOrder, output: TaskOutput) -> values.Outcome:
        """Open one result."""
        guest = GuestId(order.guest)
        root = sealing.result_root(self.secret, self.job, guest, self.keys[order.guest])
        plain = sealing.open_result(root, self.job, guest, output.index, output.attempt, output.sealed)
        outcome: values.Outcome = codec.decode(plain, values.Outcome)
        return outcome

    def grant(self, order: GuestOrder, key: bytes) -> bytes:
        """Seal the roots to a guest's key."""
        self.keys[order.guest] = key
        return granting.seal_grant(self.secret, self.job, GuestId(order.guest), key)

    async def ready(self, executor: Executor, slot: int = 0) -> tuple[Guest, GuestOrder]:
        """Start a guest, give it the key and the program."""
        order = self.order(slot)
        guest = await executor.start(order)
        await guest.grant(self.grant(order, guest.key))
        await guest.load(self.sealed_program())
        return guest, order

    async def run(self, executor: Executor, inputs: Sequence[Any], slot: int = 0) -> list[values.Outcome]:
        """Run inputs through one guest and end it."""
        guest, order = await self.ready(executor, slot)
        try:
            await guest.run([self.sealed(index, value) for index, value in enumerate(inputs)])
            outputs: list[TaskOutput] = []
            while len(outputs) < len(inputs):
                outputs += await guest.outputs()
            return [self.opened(order, output) for output in outputs]
        finally:
            await guest.kill()


async def computes_in_order(make: Make) -> None:
    """Values in, values out, in order, with what was printed."""
    executor = await make()
    outcomes = await Owner().run(executor, [1, "ab", [3], 2.5])
    assert [values.decode(outcome.value) for outcome in outcomes] == [2, "abab", [3, 3], 5.0]
    await executor.close()


async def large_inputs_pass_whole_and_in_order(make: Make) -> None:
    """Inputs and results over what a pipe holds, mixed with small ones, come through unchanged."""
    executor = await make()
    sizes = [3_000_000, 1, 0, 600_000, 5, 1_500_000, 700_000, 2]
    inputs = [bytes([number]) * size for number, size in enumerate(sizes)]
    outcomes = await Owner("def main(x):\n    return x[::-1] + b'!'\n").run(executor, inputs)
    assert [values.decode(outcome.value) for outcome in outcomes] == [data + b"!" for data in inputs]
    await executor.close()


async def every_guest_has_a_key_of_its_own(make: Make) -> None:
    """Two guests of one job do not share a key."""
    executor = await make()
    owner = Owner()
    one, other = await executor.start(owner.order(0)), await executor.start(owner.order(1))
    assert len(one.key) == len(other.key) == 32
    assert one.key != other.key
    await one.kill()
    await other.kill()
    await executor.close()


async def a_foreign_grant_opens_nothing(make: Make) -> None:
    """A grant for another guest's key is a typed refusal."""
    executor = await make()
    owner = Owner()
    one, other = owner.order(0), owner.order(1)
    guest, neighbour = await executor.start(one), await executor.start(other)
    sealed = granting.seal_grant(owner.secret, owner.job, GuestId(other.guest), neighbour.key)
    await _raises(SealBroken, guest.grant(sealed))
    await neighbour.kill()
    await executor.close()


async def an_altered_program_is_not_run(make: Make) -> None:
    """One flipped bit in the program is a typed refusal."""
    executor = await make()
    owner = Owner()
    order = owner.order()
    guest = await executor.start(order)
    await guest.grant(owner.grant(order, guest.key))
    program = bytearray(owner.sealed_program())
    program[-1] ^= 1
    await _raises(SealBroken, guest.load(bytes(program)))
    await executor.close()


async def a_moved_or_replayed_input_is_refused(make: Make) -> None:
    """An input at another index, or an attempt that is not newer than the last, is a typed refusal."""
    executor = await make()
    for twist in ("moved", "replayed", "older"):
        owner = Owner()
        guest, _ = await owner.ready(executor)
        task = owner.sealed(0, 1)
        if twist == "moved":
            await guest.run([TaskInput(index=1, attempt=1, sealed=task.sealed)])
        else:
            await guest.run([task])
            assert len(await guest.outputs()) == 1
            await guest.run(
                [task if twist == "replayed" else TaskInput(index=0, attempt=task.attempt - 1, sealed=task.sealed)]
            )
        await _raises(SealBroken, guest.outputs())
        await guest.kill()
    await executor.close()


async def what_the_job_raises_is_its_owners_alone(make: Make) -> None:
    """An exception is inside the seal; the guest lives on."""
    executor = await make()
    outcomes = await Owner("def main(x):\n    return 10 // x\n").run(executor, [0, 5])
    assert [outcome.ok for outcome in outcomes] == [False, True]
    assert "ZeroDivisionError" in outcomes[0].error
    await executor.close()


async def an_endless_task_costs_the_guest_its_life(make: Make) -> None:
    """A task beyond its time is ended, with its guest."""
    executor = await make()
    owner = Owner("def main(x):\n    while x: pass\n    return 0\n", task_seconds=0.3)
    guest, _ = await owner.ready(executor)
    await guest.run([owner.sealed(0, True)])
    await _raises(Overran, guest.outputs())
    await guest.kill()
    await executor.close()


async def a_killed_guest_says_so(make: Make) -> None:
    """Whoever waits for a killed guest learns it; killing twice is no error."""
    executor = await make()
    guest, _ = await Owner().ready(executor)
    await guest.kill()
    await guest.kill()
    await _raises(Crashed, guest.outputs())
    await executor.close()


async def _raises(kind: type[Exception], work: Awaitable[object]) -> None:
    try:
        await work
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was wanted")


SUITE = (
    computes_in_order,
    large_inputs_pass_whole_and_in_order,
    every_guest_has_a_key_of_its_own,
    a_foreign_grant_opens_nothing,
    an_altered_program_is_not_run,
    a_moved_or_replayed_input_is_refused,
    what_the_job_raises_is_its_owners_alone,
    an_endless_task_costs_the_guest_its_life,
    a_killed_guest_says_so,
)
