"""Plain values and numpy arrays as bytes, safely: what functions take and give, what models read and answer.

None, bool, int (64 bit), float, str, bytes, lists, dicts with string keys, and arrays of numbers, booleans and fixed-width
text. Tuples arrive as lists, numpy scalars as arrays of shape (). No object ever runs code when it is read: never pickle.
"""

import itertools
import math
from typing import Annotated, Any

import msgspec
import numpy as np

from propolis.terms.errors import DataError, MalformedMessage
from propolis.terms.job import MAX_TASK_BYTES

_ARRAY = 1
_KINDS = frozenset("biufcSU")
MAX_DIMENSIONS = 32
MAX_EMPTY = 2**20  # lists that an empty array reads out as, at most: (2**40, 0) would be a million millions
MAX_ERROR = 8 * 1024  # letters kept of a traceback
PRINTED_KEPT = 64 * 1024  # letters kept of what a task prints
MAX_PRINTED = PRINTED_KEPT + 256  # with the note that says it was cut


class _ArrayHead(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    dtype: Annotated[str, msgspec.Meta(max_length=12)]
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=2**40)], ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]


def _hook(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        raise DataError(
            f"a value of type {type(value).__name__} cannot travel; use plain values, lists, dicts and arrays"
        )
    if value.dtype.kind not in _KINDS:
        raise DataError(f"an array of {value.dtype} cannot travel; numbers, booleans and text can")
    array = np.ascontiguousarray(value)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    head = msgspec.msgpack.encode(_ArrayHead(little.dtype.str, value.shape))
    return msgspec.msgpack.Ext(_ARRAY, len(head).to_bytes(2, "big") + head + little.tobytes())


def _unhook(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise MalformedMessage(f"unknown extension {code}")
    length = int.from_bytes(data[:2], "big")
    head = msgspec.msgpack.decode(data[2 : 2 + length], type=_ArrayHead)
    return array_from(head.dtype, head.shape, data[2 + length :])


def array_from(dtype: str, shape: tuple[int, ...], raw: bytes | memoryview) -> np.ndarray[Any, Any]:
    """Return an array over `raw`. Raises MalformedMessage unless type, shape and size are sound and agree."""
    if len(dtype) > 12 or not dtype or dtype[0] not in "<|" or dtype[1:2] not in _KINDS or not dtype[2:].isdigit():
        raise MalformedMessage(f"arrays of type {dtype[:20]!r} are not accepted")
    if len(shape) > MAX_DIMENSIONS or any(side < 0 for side in shape):
        raise MalformedMessage("an array of impossible shape")
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise MalformedMessage(f"arrays of type {dtype!r} are not accepted") from error
    count = math.prod(shape)
    if count * kind.itemsize != len(raw):
        raise MalformedMessage("an array's size does not match its shape")
    if count and not kind.itemsize:  # `<U0`: a few bytes could claim any number of places
        raise MalformedMessage("an array whose places take no bytes holds nothing")
    if math.prod(itertools.takewhile(bool, shape)) > max(count, MAX_EMPTY):
        raise MalformedMessage("an empty array of a huge shape")
    try:
        return np.frombuffer(raw, dtype=kind, count=count).reshape(shape) if count else np.empty(shape, kind)
    except (ValueError, MemoryError) as error:  # numpy's own bounds on shapes
        raise MalformedMessage(f"an array of impossible shape: {error}") from error


_encoder = msgspec.msgpack.Encoder(enc_hook=_hook)
_decoder = msgspec.msgpack.Decoder(ext_hook=_unhook)


def encode(value: Any) -> bytes:
    """Return the bytes of a value. Raises DataError naming the type that cannot travel."""
    try:
        return _encoder.encode(value)
    except (TypeError, OverflowError, ValueError, RecursionError) as error:
        raise DataError(f"this value cannot travel: {error}") from error


def decode(data: bytes | bytearray | memoryview) -> Any:
    """Return the value in `data`; arrays are read-only views. Raises MalformedMessage."""
    try:
        return _decoder.decode(data)
    except (
        msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError, OverflowError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise MalformedMessage(f"not a value: {error}") from error


class Outcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What is inside a sealed result: the encoded value, or the error's text; and what the task printed."""

    ok: bool
    value: Annotated[bytes, msgspec.Meta(max_length=MAX_TASK_BYTES)] = b""
    error: Annotated[str, msgspec.Meta(max_length=MAX_ERROR)] = ""
    printed: Annotated[str, msgspec.Meta(max_length=MAX_PRINTED)] = ""
