"""One parser to be fed: its true samples, the shape of its food, and which errors are a refusal."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from propolis.terms.errors import PropolisError

Finish = Callable[[bytes], bytes]


class Shape(StrEnum):
    """What food looks like, so that it is changed where it matters."""

    BINARY = "binary"  # numbers, sizes, fixed fields
    DER = "der"
    CBOR = "cbor"
    MSGPACK = "msgpack"
    JSON = "json"
    TEXT = "text"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One parser. `run` raises one of `refusals`, or takes the bytes; anything else is an escape.

    `finish` comes after a mutation: a signature by a key that we hold, a sum, so that what is behind it is reached, too.
    """

    name: str
    run: Callable[[bytes], Any]
    samples: Callable[[], Sequence[bytes]]
    shape: Shape
    refusals: tuple[type[PropolisError], ...]
    finish: Finish | None = None
