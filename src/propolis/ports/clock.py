"""The clock: where instants come from, real or virtual."""

from typing import Protocol

from propolis.terms.time import Instant


class Clock(Protocol):
    """Where instants come from."""

    def now(self) -> Instant:
        """Return the current instant."""
        ...
