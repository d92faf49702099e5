"""CBOR (RFC 8949), the part that attestation uses, read strictly (docs/specs/evidence.md, B1-B5).

Definite lengths only, no key twice, 16 levels, bounded sizes and counts, nothing after the end. Values come as Python's own;
a tag as `Tag`. Why no library: docs/adr/0019-own-readers-for-evidence.md.
"""

import struct
from typing import NamedTuple

from propolis.terms.errors import Rejected

MAX_CBOR = 1 << 20  # bytes
MAX_DEPTH = 16
MAX_ITEMS = 4096  # all values together
_SHORT = {24: 1, 25: 2, 26: 4, 27: 8}
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_KEYS = frozenset({int, str, bytes})

Value = object
Map = dict[int | str | bytes, Value]


class Tag(NamedTuple):
    """A tagged value."""

    number: int
    value: Value


class _Reader:
    """One pass over the bytes. Its hot path calls nothing for what most values are: a short head, bytes or text."""

    __slots__ = ("at", "data", "end", "items")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        self.at = 0
        self.items = 0

    def take(self, size: int) -> bytes:
        if size > MAX_CBOR:
            raise Rejected("oversize", f"{size} bytes announced in CBOR")
        start = self.at
        end = start + size
        if end > self.end:
            raise Rejected("truncated", f"CBOR announces {size} bytes, {self.end - start} are there")
        self.at = end
        return self.data[start:end]

    def long(self, info: int) -> int:
        """Return an argument that stands after the first byte."""
        if info not in _SHORT:
            raise Rejected("cbor", "an indefinite or reserved length")
        return int.from_bytes(self.take(_SHORT[info]), "big")

    def value(self, depth: int) -> Value:
        self.items += 1
        if self.items > MAX_ITEMS:
            raise Rejected("oversize", f"more than {MAX_ITEMS} values in CBOR")
        if depth > MAX_DEPTH:
            raise Rejected("cbor", f"more than {MAX_DEPTH} levels")
        if self.at >= self.end:
            raise Rejected("truncated", "CBOR ends where a value belongs")
        first = self.data[self.at]
        self.at += 1
        info = number = first & 31
        if info == 24 and self.at < self.end:
            number = self.data[self.at]
            self.at += 1
        elif info > 23:
            number = self.long(info)
        match first >> 5:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self.take(number)
            case 3:
                return self._text(number)
            case 4:
                return [self.value(depth + 1) for _ in range(self._count(number))]
            case 5:
                return self._map(self._count(number), depth + 1)
            case 6:
                return Tag(number, self.value(depth + 1))
        return self._simple(info, number)

    def _text(self, size: int) -> str:
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Rejected("cbor", "a text that is not UTF-8") from error

    def _count(self, number: int) -> int:
        if number > MAX_ITEMS:
            raise Rejected("oversize", f"{number} values announced in CBOR")
        return number

    def _map(self, count: int, depth: int) -> Map:
        found: Map = {}
        for _ in range(count):
            key = self.value(depth)
            if type(key) not in _KEYS:  # exact types: a bool is an int to isinstance
                raise Rejected("cbor", "a key that is no number, text or bytes")
            if key in found:
                raise Rejected("cbor", "a key twice in a map")
            found[key] = self.value(depth)  # type: ignore[index]
        return found

    def _simple(self, info: int, number: int) -> Value:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info in (25, 26, 27):
            kind = {25: ">e", 26: ">f", 27: ">d"}[info]
            return float(struct.unpack(kind, number.to_bytes(struct.calcsize(kind), "big"))[0])
        raise Rejected("cbor", "a simple value that nobody assigned")


def decode(data: bytes) -> Value:
    """Read exactly one value. Raises Rejected: truncated, trailing, oversize, cbor."""
    if len(data) > MAX_CBOR:
        raise Rejected("oversize", f"CBOR of {len(data)} bytes")
    reader = _Reader(bytes(data))
    value = reader.value(1)
    if reader.at != len(data):
        raise Rejected("trailing", f"{len(data) - reader.at} bytes after CBOR")
    return value


def decode_map(data: bytes) -> Map:
    """Read exactly one map. Raises Rejected as `decode`."""
    value = decode(data)
    if not isinstance(value, dict):
        raise Rejected("cbor", "a map is missing")
    return value


def head(major: int, number: int) -> bytes:
    """Return the shortest head of a value."""
    if number < 24:
        return bytes((major << 5 | number,))
    for info, size in _SHORT.items():
        if number < 1 << 8 * size:
            return bytes((major << 5 | info,)) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit CBOR")


def bytes_of(data: bytes) -> bytes:
    """Return a byte string, written."""
    return head(2, len(data)) + data


def text_of(text: str) -> bytes:
    """Return a text string, written."""
    encoded = text.encode("utf-8")
    return head(3, len(encoded)) + encoded
