"""Words between an executor and its fork server, over a private socketpair."""

from typing import Annotated

import msgspec

from propolis.terms.capability import Rung
from propolis.terms.identity import Ticket

Pid = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Limit = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Profile(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """How a guest is confined. `uid` 0 = keep ours (we are not root). `memory_mb` = the most any job may be given."""

    rung: Rung
    uid: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] = 0
    memory_mb: Limit = 2048
    tasks: Limit = 64
    file_mb: Limit = 64
    files: Limit = 128


class Spawn(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="spawn"):
    """Fork a guest on the three descriptors that travel with this: its source, its sink, its errors."""

    ticket: Ticket
    profile: Profile


class Kill(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="kill"):
    """End a guest."""

    pid: Pid


class Forked(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="forked"):
    """A guest was forked; ticket 0 = the fork server itself is ready."""

    ticket: Ticket
    pid: Pid


class Ended(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="ended"):
    """A guest ended and was reaped. `status` as waitpid gives it."""

    pid: Pid
    status: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


Request = Spawn | Kill
Reply = Forked | Ended
