"""The placement solver: slow, foreign or wrong as it may be, its answer is checked before use."""

from typing import Protocol

from propolis.terms.placement import Placement, Problem


class Solver(Protocol):
    """Answers a placement problem. May be slow, foreign or wrong: its answer is checked before use."""

    def solve(self, problem: Problem) -> Placement:
        """Return a placement for `problem`."""
        ...
