"""Mutations of JSON, CBOR and msgpack as trees: members dropped, doubled, renamed, of other types; bytes inside are changed too.

A map is a list of pairs here, so that a key may stand in it twice. Texts that spell bytes (hex, base64) are changed inside, and
what is inside may be DER or CBOR again.
"""

import base64
import json
import random
import re
import struct
from typing import Any

import msgspec

from fuzz import derwise
from fuzz.bytewise import Bytewise
from fuzz.target import Shape
from propolis.crypto import cbor
from propolis.terms.errors import Rejected

Tree = Any
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){4,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64 - 1, -(2**63), 1.5, float("inf"), float("nan"), -0.0, "", "\0", "../../etc/passwd",
    "\ud800", "\u202e\x1b[31m", "x" * 5000, "9" * 400, "NaN", b"", b"\0", b"\xff" * 33, b"\x30\x80", b"x" * 5000,
)  # fmt: skip


class Pair(list[Any]):
    """[key, value] of a map."""


class Map(list[Any]):
    """Pairs."""


class Tagged(list[Any]):
    """[number, value], a CBOR tag."""


# -- reading


def read(data: bytes, shape: Shape) -> Tree | None:
    """Return food as a tree, or None where it is none."""
    try:
        match shape:
            case Shape.JSON:
                return json.loads(data, object_pairs_hook=lambda pairs: Map(map(Pair, pairs)))
            case Shape.CBOR:
                return _of(cbor.decode(data))
            case Shape.MSGPACK:
                return _of(msgspec.msgpack.decode(data))
            case _:
                return None
    except (ValueError, RecursionError, Rejected, msgspec.MsgspecError):
        return None


def _of(value: Any) -> Tree:
    if isinstance(value, cbor.Tag):
        return Tagged([value.number, _of(value.value)])
    if isinstance(value, dict):
        return Map(Pair((_of(key), _of(each))) for key, each in value.items())
    if isinstance(value, list | tuple):
        return [_of(each) for each in value]
    return value


# -- writing


def written(value: Tree, shape: Shape) -> bytes:
    """Return a tree as bytes; what a format has no word for becomes something it has."""
    if shape is Shape.JSON:
        return _json(value).encode("utf-8", "surrogatepass")
    return _cbor(value) if shape is Shape.CBOR else _msgpack(value)


def _json(value: Tree) -> str:
    if isinstance(value, Map):
        return "{" + ", ".join(f"{json.dumps(_text(key))}: {_json(each)}" for key, each in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(_text(value) if isinstance(value, bytes) else value, ensure_ascii=False)


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _cbor(value: Tree) -> bytes:
    match value:
        case Map():
            return cbor.head(5, len(value)) + b"".join(_cbor(key) + _cbor(each) for key, each in value)
        case Tagged():
            number = value[0] if isinstance(value[0], int) else 0
            return cbor.head(6, abs(number) & 2**64 - 1) + _cbor(value[1])
        case list():
            return cbor.head(4, len(value)) + b"".join(map(_cbor, value))
        case None | bool():
            return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
        case int():
            return cbor.head(0, min(value, 2**64 - 1)) if value >= 0 else cbor.head(1, min(-1 - value, 2**64 - 1))
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return cbor.head(3, len(raw)) + raw
    return cbor.bytes_of(bytes(value))


def _msgpack(value: Tree) -> bytes:
    match value:
        case Map():
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(_msgpack(k) + _msgpack(v) for k, v in value)
        case list():
            head = bytes((0x90 | len(value),)) if len(value) < 16 else b"\xdd" + struct.pack(">I", len(value))
            return head + b"".join(map(_msgpack, value))
        case str():
            raw = value.encode("utf-8", "surrogatepass")
            return b"\xdb" + struct.pack(">I", len(raw)) + raw
        case int() if not isinstance(value, bool) and not -(2**63) <= value < 2**64:
            return b"\xcf" + b"\xff" * 8
    return msgspec.msgpack.encode(value)


# -- changing


def _places(tree: Tree, found: list[tuple[list[Any], int]]) -> list[tuple[list[Any], int]]:
    """Return (list, index) of everything in a tree, keys too."""
    for index, value in enumerate(tree):
        found.append((tree, index))
        if isinstance(value, list):
            _places(value, found)
    return found


def mutated(dice: random.Random, data: bytes, shape: Shape) -> bytes | None:
    """Return food with one to four places changed, or None where `data` is no tree."""
    tree = read(data, shape)
    if tree is None:
        return None
    root = [tree]
    for _ in range(dice.choice((1, 1, 2, 4))):
        holder, index = dice.choice(_places(root, []))
        _change(dice, holder, index, root)
    try:
        return written(root[0], shape) if root else b""
    except RecursionError:
        return None


def _change(dice: random.Random, holder: list[Any], index: int, root: list[Any]) -> None:
    if isinstance(holder, Map):
        _rearrange(dice, holder, index)
    elif type(holder) is list and holder is not root and dice.random() < 0.35:
        _rearrange(dice, holder, index)
        if dice.random() < 0.5:
            holder.append(dice.choice(_ODD))  # a record may stay of its size
    else:
        holder[index] = _other(dice, holder[index], root)


def _rearrange(dice: random.Random, holder: list[Any], index: int) -> None:
    """Drop a member, put it in twice (in a map: a key twice), or move it."""
    lot = dice.random()
    if lot < 0.4:
        holder.insert(dice.randrange(len(holder) + 1), holder[index])
    else:
        member = holder.pop(index)
        if lot > 0.8:
            holder.insert(dice.randrange(len(holder) + 1), member)


def _other(dice: random.Random, value: Any, root: list[Any]) -> Any:
    """Return something else in place of a value: an odd one, one from elsewhere, a deep one, or itself a little changed."""
    lot = dice.random()
    if lot < 0.25:
        return dice.choice(_ODD)
    if lot < 0.32:
        holder, index = dice.choice(_places(root, []))
        return None if isinstance(holder[index], list) else holder[index]
    if lot < 0.36:
        for _ in range(dice.choice((1, 3, 40, 300))):
            value = [value]
        return value
    if isinstance(value, bytes):
        return inner(dice, value)
    if isinstance(value, str):
        return _spelt(dice, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return dice.choice((value + 1, value - 1, -value, value ^ 1 << dice.randrange(40)))
    return dice.choice(_ODD) if not isinstance(value, list) else value


def inner(dice: random.Random, data: bytes) -> bytes:
    """Return bytes from inside a tree, changed: as DER or CBOR where they are that."""
    lot = dice.random()
    changed = None
    if lot < 0.4 and data[:1] == b"\x30":
        changed = derwise.mutated(dice, data)
    elif lot < 0.4:
        changed = mutated(dice, data, Shape.CBOR) if 8 < len(data) < 4096 else None
    return changed if changed is not None else Bytewise([data], Shape.TEXT).changed(dice, data)


def _spelt(dice: random.Random, text: str) -> str:
    if len(text) < 1 << 16 and _HEX.fullmatch(text):
        return inner(dice, bytes.fromhex(text)).hex()
    if len(text) < 1 << 16 and _BASE64.fullmatch(text) and len(text) % 4 == 0:
        standard = text.replace("-", "+").replace("_", "/")
        try:
            return base64.b64encode(inner(dice, base64.b64decode(standard))).decode()
        except ValueError:
            pass
    raw = Bytewise([b"x"], Shape.TEXT).changed(dice, text.encode("utf-8", "surrogatepass"))
    return raw.decode("utf-8", dice.choice(("replace", "ignore")))
