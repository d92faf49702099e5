"""One guest as its node knows it, and how it is announced again after a session ended."""

from collections import deque

import msgspec

from propolis.messages import jobs as say
from propolis.protocols.machine import BodyPart
from propolis.terms.identity import AttemptId, GuestId
from propolis.terms.job import JobSpec


class Hosted(msgspec.Struct, kw_only=True):
    """A guest of ours. `slot` is -1 while it waits for one; `unsent` are results no session has taken yet."""

    id: GuestId
    spec: JobSpec
    owner: bytes
    slot: int = -1
    receipt: bytes = b""
    signature: bytes = b""
    grant: bytes = b""
    granted: bool = False
    serving: bool = False
    outstanding: dict[AttemptId, int] = msgspec.field(default_factory=dict)
    unsent: deque[tuple[say.TasksEnded, tuple[BodyPart, ...]]] = msgspec.field(default_factory=deque)

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
