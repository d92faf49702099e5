"""Chance: the operating system's for real, a seed's in the simulator."""

from typing import Protocol


class Entropy(Protocol):
    """Where chance comes from: the operating system for real, a seed in the simulator."""

    def draw(self, size: int) -> bytes:
        """Return `size` fresh random bytes."""
        ...
