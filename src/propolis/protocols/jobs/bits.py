"""A set of task indices as a bitmap: a million tasks in 125 kB, least significant bit first on the wire."""

from collections.abc import Iterator

from propolis.terms.errors import MalformedMessage


class Bits:
    """Fixed-size set of indices 0..size-1."""

    __slots__ = ("_bits", "count", "size")

    def __init__(self, size: int, data: bytes | memoryview | None = None) -> None:
        """Start empty, or from bytes of a peer. Raises MalformedMessage when `data` does not fit `size`."""
        self.size = size
        length = (size + 7) // 8
        self._bits = bytearray(length) if data is None else bytearray(data)
        if len(self._bits) != length or (size % 8 and self._bits and self._bits[-1] >> (size % 8)):
            raise MalformedMessage(f"a bitmap of {len(self._bits)} bytes does not fit {size} tasks")
        self.count = int.from_bytes(self._bits, "little").bit_count()

    def __contains__(self, index: int) -> bool:
        """Return whether `index` is in the set."""
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def add(self, index: int) -> bool:
        """Add; return whether it is new."""
        if index in self:
            return False
        self._bits[index >> 3] |= 1 << (index & 7)
        self.count += 1
        return True

    def remove(self, index: int) -> None:
        """Remove if there."""
        if index in self:
            self._bits[index >> 3] &= ~(1 << (index & 7))
            self.count -= 1

    def missing(self) -> Iterator[int]:
        """Yield the indices not in the set, in order."""
        return (index for index in range(self.size) if index not in self)

    @property
    def full(self) -> bool:
        """Whether every index is in."""
        return self.count == self.size

    def data(self) -> bytes:
        """Return the bitmap's bytes."""
        return bytes(self._bits)
