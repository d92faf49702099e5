"""How a process of ours ends for whoever started it: one exit code per kind of error, and one way to say an error.

The command line turns into a node (`propolis node join`), so both must end alike. docs/reference/cli.md has the same table.
"""

import sys
from enum import IntEnum

from propolis.terms import errors
from propolis.terms.text import clean


class Exit(IntEnum):
    """Exit codes; a test joins them with the page."""

    OK = 0
    FAILED = 1  # the job or one of its tasks failed
    USAGE = 2  # the command line or an input file is off
    UNREACHABLE = 3  # no fleet answers
    REFUSED = 4  # refused, or waiting with no node that may run it
    CONFIG = 5  # this machine's files or settings
    UNFINISHED = 6  # --timeout passed and the job goes on: nothing was written
    INTERRUPTED = 130


def code_for(error: errors.PropolisError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case errors.WireError():
            return Exit.UNREACHABLE
        case errors.AdmissionError() | errors.WrongSecret() | errors.PolicyChanged() | errors.VaultRevoked():
            return Exit.REFUSED
        case errors.TpmLocked():
            return Exit.REFUSED
        case errors.Unsupported() | errors.ConfigError() | errors.StoreError() | errors.CustodyError():
            return Exit.CONFIG
        case errors.DataError():
            return Exit.USAGE
        case _:
            return Exit.FAILED


def turned_away(code: str, reason: str) -> errors.AdmissionError:
    """Return the error of a member that the fleet does not let in."""
    if code == errors.MemberRemoved.code:
        return errors.MemberRemoved(reason)
    later = "try again when the orchestrator's disk has room" if code == errors.StoreFull.code else ""
    return errors.InvitationRefused(reason, hint=later)


def say(error: errors.PropolisError) -> None:
    """Write `error CODE: what happened`, and the way out, to stderr."""
    sys.stderr.write(f"error {error.code}: {clean(error.explain())}\n")
    sys.stderr.flush()
