"""Fixed little-endian layouts, taken apart strictly: chip vendors' reports and quotes."""

from propolis.terms.errors import Rejected


class Cursor:
    """Reads forward. Every method raises Rejected(truncated) when the bytes are not there."""

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.at

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size > self.left:
            raise Rejected("truncated", f"{size} bytes announced, {self.left} there")
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Return the next unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def sized(self, size: int, most: int) -> bytes:
        """Return what a length of `size` bytes announces. Raises Rejected(oversize) over `most`."""
        length = self.number(size)
        if length > most:
            raise Rejected("oversize", f"{length} bytes announced, at most {most} are read")
        return self.take(length)

    def end(self) -> None:
        """Raise Rejected(trailing) unless everything was read."""
        if self.left:
            raise Rejected("trailing", f"{self.left} bytes too many")

    def zeros_to_the_end(self) -> None:
        """Raise Rejected(trailing) unless only zeros are left: buffers of a fixed size are passed around whole."""
        if any(self._data[self.at :]):
            raise Rejected("trailing", f"{self.left} bytes too many, and not zero")
