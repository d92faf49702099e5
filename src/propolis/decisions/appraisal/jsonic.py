"""JSON that others wrote, read strictly: no key twice, no NaN, bounded; and bytes in the spellings JSON holds them (J1-J4)."""

import binascii
import json
import re

from propolis.terms.errors import Rejected

MAX_JSON = 4 << 20  # bytes; an Azure bundle with lists of numbers is 40 KB
_HEX = re.compile(r"(?:0[xX])?((?:[0-9a-fA-F]{2})+)")

Json = object


def read(data: bytes) -> Json:
    """Read one JSON value. Raises Rejected: oversize, envelope_json."""
    if len(data) > MAX_JSON:
        raise Rejected("oversize", f"JSON of {len(data)} bytes, at most {MAX_JSON} are read")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Rejected("envelope_json", "not JSON that is understood") from error


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejected("envelope_json", "a key twice in JSON")
    return found


def _constant(name: str) -> Json:
    raise Rejected("envelope_json", f"{name} in JSON")


def members(value: Json) -> dict[str, Json]:
    """Return a JSON object. Raises Rejected(envelope_json)."""
    if not isinstance(value, dict):
        raise Rejected("envelope_json", "a JSON object is missing")
    return value


def member(value: Json, *names: str) -> Json:
    """Return the one member that goes by one of these names. Raises Rejected: envelope_field, envelope_evidence (two)."""
    found = [name for name in names if members(value).get(name) is not None]
    if not found:
        raise Rejected("envelope_field", f"{names[0]} is missing")
    if len(found) > 1:
        raise Rejected("envelope_evidence", f"both {found[0]} and {found[1]} are there")
    return members(value)[found[0]]


def number(value: Json, name: str, most: int) -> int:
    """Return a member that is a whole number from 0 to `most`; null is 0. Raises Rejected(envelope_field)."""
    found = members(value).get(name, 0)
    found = 0 if found is None else found
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= most:
        raise Rejected("envelope_field", f"{name} is no number from 0 to {most}")
    return found


def octets(value: Json, name: str) -> bytes:
    """Return bytes spelt as hex, base64 (either alphabet) or a list of numbers. Raises Rejected(envelope_encoding)."""
    if isinstance(value, list):
        if not all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 256 for each in value):
            raise Rejected("envelope_encoding", f"{name} is no list of bytes")
        return bytes(value)
    if isinstance(value, str):
        return spelt(value, name)
    raise Rejected("envelope_encoding", f"{name} is neither text nor a list of bytes")


def spelt(text: str, name: str) -> bytes:
    """Return the bytes of hex or base64; spaces and line ends do not count. What is both is hex.

    Raises Rejected(envelope_encoding).
    """
    text = "".join(text.split())
    found = _HEX.fullmatch(text)
    if found:
        return bytes.fromhex(found.group(1))
    return base64_of(text, name)


def base64_of(text: str, name: str) -> bytes:
    """Return the bytes of base64 in either alphabet, padded or not. Raises Rejected(envelope_encoding)."""
    bare = text.rstrip("=")
    if not bare or len(text) - len(bare) > 2:
        raise Rejected("envelope_encoding", f"{name} is not base64")
    padded = bare.replace("-", "+").replace("_", "/") + "=" * (-len(bare) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError as error:  # binascii.Error, and what is not ASCII
        raise Rejected("envelope_encoding", f"{name} is not base64, or breaks off") from error


def written(value: Json) -> bytes:
    """Return JSON of a value that was read; texts inside keep every character, so signatures over them still hold."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
