"""A true value of any record of ours, made from its type, so that no message is forgotten when it is new."""

import enum
import random
from typing import Any, get_args

import msgspec

MOST = 3  # of items in a list


def of(kind: Any, dice: random.Random) -> Any:
    """Return a value of `kind` that its decoder takes."""
    return _of(msgspec.inspect.type_info(kind), dice)


def encoded(kind: Any, dice: random.Random, count: int = 3) -> list[bytes]:
    """Return `count` encoded values; of a union at least one of each member."""
    members = get_args(kind) or (kind,)
    return [
        msgspec.msgpack.encode(of(member, dice)) for member in members for _ in range(1 if len(members) > 3 else count)
    ]


def _of(info: Any, dice: random.Random) -> Any:
    inspect = msgspec.inspect
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: _of(field.type, dice) for field in fields})
        case inspect.UnionType(types=types):
            return _of(dice.choice(types), dice)
        case inspect.VarTupleType(item_type=item, min_length=least, max_length=most):
            size = dice.randint(least or 0, max(least or 0, min(MOST, MOST if most is None else most)))
            return tuple(_of(item, dice) for _ in range(size))
        case inspect.TupleType(item_types=items):
            return tuple(_of(item, dice) for item in items)
        case inspect.DictType(key_type=key, value_type=value):
            return {_of(key, dice): _of(value, dice) for _ in range(MOST)}
        case inspect.BytesType(min_length=least, max_length=most):
            least = least or 0
            return dice.randbytes(dice.randint(least, max(least, min(40, 40 if most is None else most))))
        case inspect.IntType(ge=least, gt=_, le=most, lt=below):
            top = (below - 1 if below is not None else most) if (below, most) != (None, None) else 2**32
            low = least if least is not None else 0
            return dice.choice((low, min(top, low + 7), top))
        case inspect.FloatType(ge=least, gt=above):
            return float((least if least is not None else above or 0) + 1)
        case inspect.StrType(pattern=pattern, max_length=most):
            return _text(pattern, most, dice)
        case inspect.LiteralType(values=values):
            return dice.choice(values)
        case inspect.EnumType(cls=cls):
            return dice.choice([member for member in cls if isinstance(member, enum.Enum)])
        case inspect.BoolType():
            return dice.random() < 0.5
        case inspect.CustomType():
            raise NotImplementedError(str(info))
        case _:
            return None


def _text(pattern: str | None, most: int | None, dice: random.Random) -> str:
    words = ("linux", "x", "node", "0" * 64, "00", "IFX", "a-b", "3.11", "numpy", "2026-01-01", "executor.crashed", "")
    fitting = [word for word in words if (most is None or len(word) <= most) and _fits(pattern, word)]
    if not fitting:
        raise NotImplementedError(f"no word of ours matches {pattern}")
    return dice.choice(fitting)


def _fits(pattern: str | None, word: str) -> bool:
    import re

    return pattern is None or re.search(pattern, word) is not None
