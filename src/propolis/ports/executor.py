"""The executor: start a guest for one job of one owner, feed it sealed frames, end it for certain.

The agent outside sees ciphertext only; keys exist in the guest's memory. Every implementation passes
`propolis.testing.executor`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from propolis.terms.capability import Isolation
from propolis.terms.job import Kind, Needs


class GuestOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What to start: one guest, for one job of one owner, never shared. `slot` counts from 0 and picks the uid."""

    job: bytes
    guest: bytes
    owner: bytes
    kind: Kind
    needs: Needs
    slot: int


class TaskInput(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed input. `index` and `attempt` are its authenticated position."""

    index: int
    attempt: int
    sealed: bytes | memoryview


class TaskOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One sealed result. `milliseconds` is the guest's own count of compute time (self-told)."""

    index: int
    attempt: int
    sealed: bytes
    milliseconds: float


class Pieces(Protocol):
    """Sealed bytes too large to hold: read a piece at a time, as fast as they are taken."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces in order, of at most 1 MiB. Raises StoreError when one is not there."""
        ...


class Guest(Protocol):
    """A running guest. All coroutines raise Crashed or Overran, after which the guest is dead and gone."""

    @property
    def key(self) -> bytes:
        """The guest's ephemeral X25519 public key, 32 bytes, made inside it."""
        ...

    @property
    def isolation(self) -> Isolation:
        """What isolation this guest really runs under."""
        ...

    @property
    def pid(self) -> int:
        """Host pid of the guest's outermost process; 0 for a stand-in."""
        ...

    async def grant(self, sealed: bytes) -> None:
        """Hand over the owner's sealed key grant. Raises SealBroken when the guest cannot open it."""
        ...

    async def load(self, program: bytes | memoryview | Pieces) -> None:
        """Hand over the sealed program; the guest opens it, loads it, warms up and locks itself. Raises SealBroken."""
        ...

    async def run(self, inputs: Sequence[TaskInput]) -> None:
        """Queue sealed inputs; they are computed in order. Results come through `outputs`."""
        ...

    async def outputs(self) -> list[TaskOutput]:
        """Wait for at least one result; return all that are there. Raises Overran past the task's time limit."""
        ...

    async def kill(self) -> None:
        """End the guest and everything it started; returns when nothing of it is left. Idempotent, never raises."""
        ...

    async def stderr(self) -> str:
        """The last 64 kB the guest wrote to its stderr; for the lender's own diagnosis, never sent anywhere."""
        ...


class Executor(Protocol):
    """A way to run guests on this machine."""

    async def probe(self) -> Isolation:
        """Find out by doing which isolation this executor reaches here. Raises Unsupported."""
        ...

    async def start(self, order: GuestOrder) -> Guest:
        """Start a confined guest (or take a warm one). Raises Unsupported, Crashed, Overran; never retries weaker."""
        ...

    def warm(self, slot: int) -> None:
        """Have a guest ready for this slot's next order, where that saves time; returns at once, never raises."""
        ...

    async def close(self) -> None:
        """Kill all guests and helpers; idempotent, never raises."""
        ...
