"""Time as a value. Pure code is handed an instant and hands out its next deadline; it never reads a clock."""

from typing import NewType

Instant = NewType("Instant", float)
"""Seconds on the clock of one party (monotonic for a process, virtual in the simulator). Not comparable across parties."""

NEVER = Instant(float("inf"))


def after(now: Instant, delay: float) -> Instant:
    """Return the instant `delay` seconds from `now`."""
    return Instant(now + delay)


def earliest(*instants: Instant | None) -> Instant | None:
    """Return the first of the given deadlines, or None when there is none."""
    known = [instant for instant in instants if instant is not None]
    return min(known) if known else None
