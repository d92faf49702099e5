"""How long a visitor may stay: as long as bytes move at a least pace, measured over windows, and no more than so many in all.

A visit has no total time, since a slow line may take long for a large program; but one that stands still, or trickles to hold
its place, is over at the end of the window. Time is handed in.
"""

from propolis.terms.job import MAX_PROGRAM_BYTES

WINDOW_SECONDS = 60.0
LEAST_BYTES = 1024 * 1024
"""Per window: a chunk a minute, so that even a line of 150 kbit/s keeps its place."""

MOST_BYTES = 4 * MAX_PROGRAM_BYTES


class Pace:
    """The pace of one visit, which began at `now`."""

    def __init__(
        self, now: float, *, window: float = WINDOW_SECONDS, least: int = LEAST_BYTES, most: int = MOST_BYTES
    ) -> None:
        self._window, self._least, self._most = window, least, most
        self._moved = 0
        self.ends = now + window

    def over(self, now: float, moved: int) -> bool:
        """Return whether the visit is over, `moved` bytes after its beginning."""
        if moved > self._most:
            return True
        if now < self.ends:
            return False
        slow = moved - self._moved < self._least
        self._moved, self.ends = moved, now + self._window
        return slow
