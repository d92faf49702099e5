"""Mutations of DER as a tree: elements dropped, doubled, moved, retagged, of other lengths; lengths around them stay true."""

import random
from typing import Any

from propolis.crypto import der
from propolis.terms.errors import Rejected

MOST_DEPTH = 12
_BODIES = (b"", b"\0", b"\xff", b"\0" * 40, b"\xff" * 40, b"\x80", b"\x7f" + b"\xff" * 8, b"Z", b"991231235960Z", b"20261301000000Z")  # fmt: skip
_TAGS = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA3, 0x80, 0x1F, 0x9F, 0xFF, 0)

Node = list[Any]
"""[tag, bytes] or [tag, nodes]."""


def tree(data: bytes) -> Node | None:
    """Return DER as a tree, or None where it is none."""
    try:
        return _node(der.one(data, data[0] if data else 0), 0)
    except Rejected:
        return None


def _node(element: der.Element, depth: int) -> Node:
    if element.tag & 0x20 and depth < MOST_DEPTH:
        try:
            return [element.tag, [_node(child, depth + 1) for child in der.children(element)]]
        except Rejected:
            pass
    return [element.tag, element.body]


def written(node: Node) -> bytes:
    """Return a tree as DER; a node may bring a length of its own as its third part."""
    body = node[1] if isinstance(node[1], bytes) else b"".join(map(written, node[1]))
    return bytes((node[0],)) + (node[2] if len(node) > 2 else _length(len(body))) + body


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(digits),)) + digits


def _all(node: Node) -> list[Node]:
    found = [node]
    for child in node[1] if isinstance(node[1], list) else []:
        found += _all(child)
    return found


def mutated(dice: random.Random, data: bytes) -> bytes | None:
    """Return DER with one to three elements changed, or None where `data` is no DER."""
    root = tree(data)
    if root is None:
        return None
    for _ in range(dice.choice((1, 1, 2, 3))):
        nodes = _all(root)
        _change(dice, dice.choice(nodes), nodes)
    return written(root)


def _change(dice: random.Random, node: Node, nodes: list[Node]) -> None:
    inner = node[1] if isinstance(node[1], list) else None
    match dice.randrange(9):
        case 0:
            node[0] = dice.choice(_TAGS)
        case 1 if inner:
            del inner[dice.randrange(len(inner))]
        case 2 if inner:
            child = dice.choice(inner)
            inner.insert(dice.randrange(len(inner) + 1), child[:2])
        case 3 if inner:
            dice.shuffle(inner)
        case 4:
            node[1] = dice.choice(_BODIES)
        case 5:
            size = len(written(node)) - 2
            node[2:] = [dice.choice((b"\x80", b"\x84" + size.to_bytes(4, "big"), b"\x84\xff\xff\xff\xff", b"\x00", b"\x85" + bytes(5)))]  # fmt: skip
        case 6:
            node[1] = written(dice.choice(nodes))
        case 7:
            deep: Node = [node[0], node[1]]
            for _ in range(dice.choice((1, 5, 60))):
                deep = [0x30, [deep]]
            node[0], node[1] = deep[0], deep[1]
        case _ if inner is None and node[1]:
            body = bytearray(node[1])
            body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
            node[1] = bytes(body)
