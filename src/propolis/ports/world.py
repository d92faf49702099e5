"""The small ports: clock, entropy, key home (every one passes `propolis.testing.keyhome`), placement solver."""

from typing import Protocol

from propolis.terms.identity import NodeId
from propolis.terms.placement import Placement, Problem
from propolis.terms.time import Instant


class Clock(Protocol):
    """Where instants come from."""

    def now(self) -> Instant:
        """Return the current instant."""
        ...


class Entropy(Protocol):
    """Where chance comes from: the operating system for real, a seed in the simulator."""

    def draw(self, size: int) -> bytes:
        """Return `size` fresh random bytes."""
        ...


class KeyHome(Protocol):
    """A private identity key, as an address: it signs, it never leaves its home."""

    @property
    def identity(self) -> NodeId:
        """The public half."""
        ...

    def sign(self, context: bytes, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `data` for the purpose `context`."""
        ...

    def seed_for_wire(self) -> bytes:
        """Return the 32-byte seed for the carrier's endpoint, which must prove the same identity itself."""
        ...


class Solver(Protocol):
    """Answers a placement problem. May be slow, foreign or wrong: its answer is checked before use."""

    def solve(self, problem: Problem) -> Placement:
        """Return a placement for `problem`."""
        ...
