"""The only door for bytes: encode our records, decode a stranger's. Bytes in, a typed record or MalformedMessage out."""

from typing import Any, TypeVar

import msgspec

from propolis.terms.errors import MalformedMessage

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(record: object) -> bytes:
    """Return the canonical bytes of a record. What is signed or hashed is these bytes as sent, never a re-encoding."""
    return _encoder.encode(record)


def decode(data: bytes | bytearray | memoryview, kind: type[T] | Any) -> T:
    """Return the record of type `kind` in `data`. Raises MalformedMessage for every way the bytes can be wrong."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise MalformedMessage(f"not a {getattr(kind, '__name__', 'message')}: {error}") from error
