"""DER, read without mercy for lengths and without opinion on meaning (X.690; docs/specs/evidence.md, D1-D4).

Strict where it matters to safety: definite lengths in their shortest form, nothing outside its parent, nothing after the
end, bounded. Lenient where real hardware errs: the order of SETs and the sign of serial numbers are not looked at.
"""

from functools import lru_cache
from typing import NamedTuple

from propolis.terms.errors import Rejected

MAX_DER = 1 << 20  # bytes; the largest CRL seen is 6 KB, Intel's grow
MAX_CHILDREN = 50_000  # a CRL's entries

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID, ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A
UTF8, PRINTABLE, IA5, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x13, 0x16, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31


class Element(NamedTuple):
    """One tag-length-value: `raw` is all of it, `body` its content."""

    tag: int
    body: bytes
    raw: bytes


def _at(data: bytes, start: int) -> tuple[Element, int]:
    """Read the element at `start`; return it and where the next one begins."""
    if start + 2 > len(data):
        raise Rejected("truncated", "DER ends inside an element's header")
    tag, size, head = data[start], data[start + 1], 2
    if tag & 0x1F == 0x1F:
        raise Rejected("der", "a tag of several bytes")
    if size >= 0x80:
        many = size & 0x7F
        if not 1 <= many <= 4:
            raise Rejected("der", "an indefinite or absurd length")
        digits = data[start + 2 : start + 2 + many]
        if len(digits) < many:
            raise Rejected("truncated", "DER ends inside a length")
        size, head = int.from_bytes(digits, "big"), 2 + many
        if size < 0x80 or digits[0] == 0:
            raise Rejected("der", "a length not in its shortest form")
    if size > MAX_DER:
        raise Rejected("oversize", f"a DER element of {size} bytes")
    end = start + head + size
    if end > len(data):
        raise Rejected("truncated", f"DER announces {size} bytes, {len(data) - start - head} are there")
    return Element(tag, data[start + head : end], data[start:end]), end


def one(data: bytes, tag: int = SEQUENCE) -> Element:
    """Return the only element of `data`. Raises Rejected: truncated, trailing, oversize, der."""
    if len(data) > MAX_DER:
        raise Rejected("oversize", f"DER of {len(data)} bytes")
    element, end = _at(data, 0)
    if end != len(data):
        raise Rejected("trailing", f"{len(data) - end} bytes after DER")
    return expect(element, tag)


def first(data: bytes, tag: int = SEQUENCE) -> tuple[Element, bytes]:
    """Return the first element of `data`, and the bytes after it."""
    element, end = _at(data, 0)
    return expect(element, tag), data[end:]


def children(element: Element) -> list[Element]:
    """Return what a constructed element holds. Raises Rejected: truncated, oversize, der."""
    found: list[Element] = []
    at = 0
    while at < len(element.body):
        if len(found) >= MAX_CHILDREN:
            raise Rejected("oversize", "too many DER elements")
        child, at = _at(element.body, at)
        found.append(child)
    return found


def expect(element: Element, tag: int) -> Element:
    """Return the element. Raises Rejected(der) unless it has this tag."""
    if element.tag != tag:
        raise Rejected("der", f"tag {element.tag:#04x} where {tag:#04x} belongs")
    return element


def oid(element: Element) -> str:
    """Return an OBJECT IDENTIFIER, dotted. Raises Rejected(der)."""
    return _dotted(expect(element, OID).body)


@lru_cache(maxsize=1024)  # a value of a value: a PCK certificate alone has 23 of them, and all have the same
def _dotted(body: bytes) -> str:
    if not body or len(body) > 64 or body[-1] & 0x80:
        raise Rejected("der", "a broken object identifier")
    arcs: list[int] = []
    value = 0
    for byte in body:
        if value == 0 and byte == 0x80:
            raise Rejected("der", "an object identifier not in its shortest form")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (top, arcs[0] - 40 * top, *arcs[1:]))


def integer(element: Element, *, most: int = 1 << 64) -> int:
    """Return a non-negative INTEGER or ENUMERATED under `most`. Raises Rejected(der, oversize)."""
    if element.tag not in (INTEGER, ENUMERATED) or not element.body:
        raise Rejected("der", "a number is missing")
    if len(element.body) > 2048:
        raise Rejected("oversize", "a number of over 2 KB")
    value = int.from_bytes(element.body, "big", signed=True)
    if value < 0:
        raise Rejected("der", "a negative number")
    if value >= most:
        raise Rejected("oversize", "a number over its bound")
    return value


def boolean(element: Element) -> bool:
    """Return a BOOLEAN; lenient: anything but 0 is true."""
    body = expect(element, BOOLEAN).body
    if len(body) != 1:
        raise Rejected("der", "a broken boolean")
    return body != b"\0"


def bits(element: Element) -> bytes:
    """Return a BIT STRING of whole bytes. Raises Rejected(der)."""
    body = expect(element, BIT_STRING).body
    if not body or body[0] != 0:
        raise Rejected("der", "a bit string that is not of whole bytes")
    return body[1:]
