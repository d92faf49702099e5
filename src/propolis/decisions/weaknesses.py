"""TPMs known to be bad: a table of data (decisions/data/tpm.toml), and who falls under it. An advisory is a line, not code."""

import re
from typing import Annotated

import msgspec

from propolis.terms.errors import ConfigError
from propolis.terms.requirement import Adversary, Day

Version = tuple[int, ...]
VersionText = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,6}(\\.[0-9]{1,6}){0,3}$", max_length=32)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
Small = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
_DOTTED = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){1,3}")


class Weakness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weakness: whom it concerns, and from which adversary on the TPM keeps nothing.

    `versions`: [from, to], both included, compared as far as they are written; none = every version. `processors`:
    [family, from model, to model]; none = every processor.
    """

    name: Text
    maker: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{2,4}$", max_length=4)]
    versions: Annotated[tuple[tuple[VersionText, VersionText], ...], msgspec.Meta(max_length=64)] = ()
    processors: Annotated[tuple[tuple[Small, Small, Small], ...], msgspec.Meta(max_length=32)] = ()
    by: Adversary
    because: Text
    raises: Text
    source: Text
    date: Day


class Weaknesses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is known, as of `date`."""

    date: Day
    weakness: Annotated[tuple[Weakness, ...], msgspec.Meta(max_length=200)] = ()


NONE_KNOWN = Weaknesses(date="0000-01-01")


def read_weaknesses(data: bytes) -> Weaknesses:
    """Return the table in TOML bytes. Raises ConfigError: a table that is not understood must not pass for an empty one."""
    try:
        return msgspec.toml.decode(data, type=Weaknesses)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"the table of TPM weaknesses: {error}") from error


def version(text: str) -> Version:
    """Return a dotted version; empty when there is none."""
    match = _DOTTED.search(text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def concerns(each: Weakness, maker: str, firmware: Version, processor: tuple[int, int] | None) -> bool | None:
    """Return whether a TPM falls under a weakness; None when too little of it is known."""
    if each.maker != maker:
        return False
    answers: list[bool | None] = []
    if each.versions:
        answers.append(_within(each.versions, firmware))
    if each.processors:
        answers.append(
            None
            if processor is None
            else any(f == processor[0] and a <= processor[1] <= b for f, a, b in each.processors)
        )
    return False if False in answers else None if None in answers else True


def _within(ranges: tuple[tuple[str, str], ...], firmware: Version) -> bool | None:
    unsure = False
    for low, high in ranges:
        first, last = (tuple(int(part) for part in text.split(".")) for text in (low, high))
        if len(firmware) < max(len(first), len(last)):
            unsure = True
        elif first <= firmware[: len(first)] and firmware[: len(last)] <= last:
            return True
    return None if unsure else False
