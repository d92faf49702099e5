"""Words between an executor and its fork server, over a private socketpair."""

import msgspec

from propolis.terms.capability import Rung


class Profile(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """How a guest is confined. `uid` 0 = keep ours (we are not root). `memory_mb` = the most any job may be given."""

    rung: Rung
    uid: int = 0
    memory_mb: int = 2048
    tasks: int = 64
    file_mb: int = 64
    files: int = 128


class Spawn(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="spawn"):
    """Fork a guest on the three descriptors that travel with this: its source, its sink, its errors."""

    ticket: int
    profile: Profile


class Kill(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="kill"):
    """End a guest."""

    pid: int


class Forked(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="forked"):
    """A guest was forked; ticket 0 = the fork server itself is ready."""

    ticket: int
    pid: int


class Ended(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="ended"):
    """A guest ended and was reaped. `status` as waitpid gives it."""

    pid: int
    status: int


Request = Spawn | Kill
Reply = Forked | Ended
