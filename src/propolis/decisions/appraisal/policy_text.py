"""A policy as text that reads back as the same policy, and the edits an operator makes by command: approve a key, add an image.

Order and meaning stay, comments go: what is written is what `read` understood. A default is left out, so that the text stays
small, or spelled out for people who want to see what is in force.
"""

import msgspec

from propolis.decisions.appraisal.policy import DEFAULT, Approved, Image, Policy, read
from propolis.terms.errors import ConfigError

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
Scalar = str | int | bool


def write(policy: Policy, *, whole: bool = False) -> str:
    """Return the policy as TOML, with its defaults if `whole`; `read` gives the same one back."""
    lines: list[str] = []
    for name in ("name", "pcrs", "lease_seconds", "strict_clock", "measurements", "certificates"):
        value = getattr(policy, name)
        if whole or value != getattr(DEFAULT, name):
            lines.append(f"{name} = {_value(value)}")
    for title, records in (("image", policy.image), ("approved", policy.approved)):
        for record in records:
            lines += ["", f"[[{title}]]", *_pairs(record)]
    if policy.rehearsal is not None:
        lines += ["", "[rehearsal]", *_pairs(policy.rehearsal)]
    return "\n".join(lines).lstrip("\n") + "\n"


def approve(policy: Policy, ek: str, maker: str, note: str = "") -> Policy:
    """Return the policy with one more endorsement key the operator vouches for. Raises ConfigError."""
    if any(each.ek == ek for each in policy.approved):
        raise ConfigError(f"the policy vouches for endorsement key {ek} already")
    added = Approved(ek=ek, maker=maker, note=note[:200])
    return _checked(msgspec.structs.replace(policy, approved=(*policy.approved, added)))


def add_image(policy: Policy, image: Image) -> Policy:
    """Return the policy with one more known image. Raises ConfigError."""
    known = next((each for each in policy.image if each.digest == image.digest), None)
    if known is not None:
        raise ConfigError(f"the policy knows this image already, as {known.name!r}")
    return _checked(msgspec.structs.replace(policy, image=(*policy.image, image)))


def _checked(policy: Policy) -> Policy:
    """A record made here was not held against its bounds yet; reading it is."""
    return read(write(policy).encode())


def _pairs(record: msgspec.Struct) -> list[str]:
    kept = msgspec.structs.asdict(record)
    defaults = {field.name: field.default for field in msgspec.structs.fields(record)}
    return [f"{name} = {_value(value)}" for name, value in kept.items() if value != defaults[name]]


def _value(value: Scalar | tuple[Scalar, ...]) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return f'"{"".join(map(_letter, value))}"'
        case _:
            return f"[{', '.join(map(_value, value))}]"


def _letter(letter: str) -> str:
    """One character of a TOML basic string."""
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter
