"""A certificate's subject or issuer as a person reads it: "CN=..., O=...". For showing alone; chains compare exact bytes."""

from propolis.crypto import der
from propolis.terms.errors import Rejected

MOST = 300
_SHORT = {
    "2.5.4.3": "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
    "2.5.4.11": "OU", "2.23.133.2.1": "tpmManufacturer", "2.23.133.2.2": "tpmModel", "2.23.133.2.3": "tpmVersion",
}  # fmt: skip


def told(name: bytes) -> str:
    """Return a Name in DER as text, at most 300 characters, empty where it names nobody. What is no name is said to be none."""
    try:
        pairs = [der.children(pair) for part in der.children(der.one(name)) for pair in der.children(part)]
        words = [f"{_SHORT.get(der.oid(kind), der.oid(kind))}={_text(value)}" for kind, value in pairs]
    except (Rejected, ValueError):
        return "a name that cannot be read"
    return ", ".join(words)[:MOST]


def _text(value: der.Element) -> str:
    return value.body.decode("utf-16-be" if value.tag == 0x1E else "utf-8", "replace")
