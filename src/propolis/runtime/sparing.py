"""Words that others can make us write are spared: so many warnings an hour, the rest at DEBUG, so that no log fills a disk."""

import logging
import time

WORDS = 32
HOUR = 3600.0


class Sparing:
    """One subject of a log; what it is told counts, whatever it says."""

    def __init__(self, log: logging.Logger, words: int = WORDS) -> None:
        self._log = log
        self._words = words
        self._left = words
        self._until = 0.0

    def warn(self, text: str, *values: object) -> None:
        """Say it as a warning while there are words left in this hour."""
        now = time.monotonic()
        if now >= self._until:
            self._left, self._until = self._words, now + HOUR
        self._left -= 1
        self._log.log(logging.WARNING if self._left >= 0 else logging.DEBUG, text, *values)
        if self._left == 0:
            self._log.warning("more of this kind is not said within the hour, unless the level is DEBUG")
