"""What a probe saw of one machine, as pure data: what was asked, and what came back, denials included. Nothing is judged here.

Keys say what was asked: `file:PATH`, `folder:PATH`, `open:PATH` (may this user open it), `call:NAME` (a system call, an
ioctl, or a walk over several files), `command:WORDS`. What was never asked has no key, which is no more than a denial.
Written down in docs/specs/capabilities.md, step 1.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from propolis.terms.errors import DataError

MOST_TEXT = 65_536
MOST_KEYS = 2_048

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
Moment = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", max_length=20)]
"""An instant in UTC to the second, as in RFC 3339."""


class Outcome(StrEnum):
    """How one question ended."""

    OK = "ok"  # answered; `text` is whole
    MISSING = "missing"  # there is no such file, device, call or command
    DENIED = "denied"  # there may be one; this user is not told
    FAILED = "failed"  # it is there and gave an error, `text` says which
    LATE = "late"  # it did not answer within its bound
    CUT = "cut"  # it said more than MOST_TEXT; `text` is the beginning


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer."""

    outcome: Outcome = Outcome.OK
    text: Annotated[str, msgspec.Meta(max_length=MOST_TEXT)] = ""


class Recording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One look at one machine."""

    system: Annotated[str, msgspec.Meta(max_length=40)]  # "linux", "windows", "darwin"
    machine: Annotated[str, msgspec.Meta(max_length=40)]  # "x86_64", "aarch64"
    taken: Moment
    root: bool = False
    seen: Annotated[dict[Key, Seen], msgspec.Meta(max_length=MOST_KEYS)] = {}

    def at(self, key: str) -> Seen:
        """Return what came back; what was never asked counts as denied."""
        return self.seen.get(key, _NEVER_ASKED)

    def text(self, key: str) -> str | None:
        """Return a whole answer without its outer blanks, or None."""
        seen = self.at(key)
        return seen.text.strip(" \t\r\n\0") if seen.outcome is Outcome.OK else None

    def begins(self, prefix: str) -> list[tuple[str, Seen]]:
        """Return what was asked under a prefix, ordered by key."""
        return sorted((key, seen) for key, seen in self.seen.items() if key.startswith(prefix))


_NEVER_ASKED = Seen(outcome=Outcome.DENIED)


def to_json(recording: Recording) -> bytes:
    """Return the recording as JSON."""
    return msgspec.json.encode(recording)


def from_json(data: bytes) -> Recording:
    """Return the recording in JSON bytes. Raises DataError: what is not understood is not half understood."""
    try:
        return msgspec.json.decode(data, type=Recording)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"this is no recording of a machine: {error}") from error
