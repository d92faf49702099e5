"""TPM 2.0 marshalling: big-endian numbers and sized buffers, read strictly (TPM 2.0 Library, Part 2, 4.1)."""

from propolis.terms.errors import Rejected

MAX_SIZED = 8192  # no structure we read is larger


class Reader:
    """Takes a structure apart. Every method raises Rejected(truncated) when the bytes are not there."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = bytes(data)
        self._end = len(self._data)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self._at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        start = self._at
        end = start + size
        if end > self._end:
            raise Rejected("truncated", f"{size} bytes announced, {self._end - start} there")
        self._at = end
        return self._data[start:end]

    def u8(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Return the next 16 bits."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """Return the next 32 bits."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """Return the next 64 bits."""
        return int.from_bytes(self.take(8), "big")

    def sized(self, most: int = MAX_SIZED) -> bytes:
        """Return a TPM2B's content. Raises Rejected(oversize) over `most` bytes."""
        size = int.from_bytes(self.take(2), "big")
        if size > most:
            raise Rejected("oversize", f"a buffer of {size} bytes, at most {most} are read")
        return self.take(size)

    def end(self) -> None:
        """Raise Rejected(trailing) unless everything was read."""
        if self._at != self._end:
            raise Rejected("trailing", f"{self.left} bytes after the structure")


def u8(value: int) -> bytes:
    """Return 8 bits."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Return 16 bits."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Return 32 bits."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Return 64 bits."""
    return value.to_bytes(8, "big")


def sized(data: bytes) -> bytes:
    """Return a TPM2B."""
    return u16(len(data)) + data
