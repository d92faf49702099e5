"""The operating system's monotonic clock and random source."""

import secrets
import time

from propolis.terms.time import Instant


class SystemClock:
    """Seconds since some moment; never goes back."""

    def now(self) -> Instant:
        """Return the current instant."""
        return Instant(time.monotonic())


class SystemEntropy:
    """The kernel's random source."""

    def draw(self, size: int) -> bytes:
        """Return fresh random bytes."""
        return secrets.token_bytes(size)
