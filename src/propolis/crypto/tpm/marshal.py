"""TPM 2.0 marshalling: big-endian numbers and sized buffers, read strictly (TPM 2.0 Library, Part 2, 4.1)."""

from propolis.terms.errors import Rejected

MAX_SIZED = 8192  # no structure we read is larger


class Reader:
    """Takes a structure apart. Every method raises Rejected(truncated) when the bytes are not there."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = bytes(data)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size > self.left:
            raise Rejected("truncated", f"{size} bytes announced, {self.left} there")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """Return the next unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def u8(self) -> int:
        """Return the next byte."""
        return self.number(1)

    def u16(self) -> int:
        """Return the next 16 bits."""
        return self.number(2)

    def u32(self) -> int:
        """Return the next 32 bits."""
        return self.number(4)

    def u64(self) -> int:
        """Return the next 64 bits."""
        return self.number(8)

    def sized(self, most: int = MAX_SIZED) -> bytes:
        """Return a TPM2B's content. Raises Rejected(oversize) over `most` bytes."""
        size = self.u16()
        if size > most:
            raise Rejected("oversize", f"a buffer of {size} bytes, at most {most} are read")
        return self.take(size)

    def end(self) -> None:
        """Raise Rejected(trailing) unless everything was read."""
        if self.left:
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
