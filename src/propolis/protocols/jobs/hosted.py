"""One guest as its node knows it, and how it is announced again after a session ended."""

from collections import deque
from collections.abc import Sequence

import msgspec

from propolis.messages import jobs as say
from propolis.ports.executor import GuestOrder, TaskOutput
from propolis.protocols.machine import BodyPart, FromStore
from propolis.terms.identity import AttemptId, GuestId
from propolis.terms.job import MAX_HELD_BYTES, MAX_HELD_TASKS, JobSpec


class Hosted(msgspec.Struct, kw_only=True):
    """A guest of ours. `slot` is -1 while it waits for one; `unsent` are results no session has taken yet.

    `outstanding` are tasks it was given and did not end, `inputs` the bytes of theirs; both are bounded (step 7).
    """

    id: GuestId
    spec: JobSpec
    owner: bytes
    slot: int = -1
    receipt: bytes = b""
    signature: bytes = b""
    evidence: tuple[BodyPart, ...] = ()  # until its grant is here
    grant: bytes = b""
    granted: bool = False
    serving: bool = False
    outstanding: dict[AttemptId, int] = msgspec.field(default_factory=dict)
    inputs: dict[AttemptId, int] = msgspec.field(default_factory=dict)
    unsent: deque[tuple[say.TasksEnded, tuple[BodyPart, ...]]] = msgspec.field(default_factory=deque)

    def give(self, attempts: Sequence[AttemptId], indices: Sequence[int], sizes: Sequence[int]) -> str:
        """Note tasks it is given; returns why not, when an honest dispatcher would not give them. Nothing is noted then."""
        if len(set(attempts)) != len(attempts) or not self.outstanding.keys().isdisjoint(attempts):
            return "an attempt was given out twice"
        count, size = len(self.outstanding) + len(attempts), sum(self.inputs.values()) + sum(sizes)
        if count > MAX_HELD_TASKS or size > MAX_HELD_BYTES:
            most = f"{MAX_HELD_TASKS} tasks or {MAX_HELD_BYTES >> 20} MiB"
            return f"a guest was given more than {most} before it ended them: {count} tasks, {size >> 20} MiB"
        self.outstanding.update(zip(attempts, indices, strict=True))
        self.inputs.update(zip(attempts, sizes, strict=True))
        return ""

    def end(self, attempt: AttemptId, index: int) -> bool:
        """A task ended; returns whether it was one it was given."""
        self.inputs.pop(attempt, None)
        return self.outstanding.pop(attempt, None) == index

    def order(self) -> GuestOrder:
        """Return what is to be started, in its slot."""
        spec = self.spec
        return GuestOrder(
            job=spec.id, guest=self.id, owner=self.owner, kind=spec.kind, needs=spec.needs, slot=self.slot
        )

    def report(self, outputs: Sequence[TaskOutput]) -> tuple[say.TasksEnded, tuple[BodyPart, ...]]:
        """Return what is said of tasks that ended, and its body."""
        ended = say.TasksEnded(
            job=self.spec.id,
            guest=self.id,
            indices=tuple(out.index for out in outputs),
            attempts=tuple(out.attempt for out in outputs),
            milliseconds=sum(out.milliseconds for out in outputs),
        )
        return ended, tuple(out.sealed for out in outputs)

    @property
    def unsent_bytes(self) -> int:
        """Bytes of results that wait for a session."""
        return sum(len(part) for _, parts in self.unsent for part in parts if not isinstance(part, FromStore))

    def announcement(self) -> say.HeldGuest:
        """Return what a fresh session is told (step 9): where it stands, and what it works at or has finished unsent."""
        attempts: dict[AttemptId, int] = {}
        for ended, _ in self.unsent:
            attempts.update(zip(map(AttemptId, ended.attempts), ended.indices, strict=True))
        attempts.update(self.outstanding)
        return say.HeldGuest(
            job=self.spec.id,
            guest=self.id,
            serving=self.serving,
            receipt=self.receipt,
            signature=self.signature,
            indices=tuple(attempts.values()),
            attempts=tuple(attempts),
        )
