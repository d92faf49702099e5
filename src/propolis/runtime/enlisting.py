"""What an invitation writes into a member's home before the fleet was asked, and how it goes again when the answer is no.

An invitation that was used already must leave no home behind that says it belongs to a fleet. The key stays when nobody
answered: the fleet may have let us in with that key, and then only that key is a member.
"""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from propolis.crypto import credential
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.runtime import config
from propolis.runtime.invitation import Invitation
from propolis.terms.errors import ConfigError, InvitationRefused
from propolis.terms.identity import NodeId

OURS = ("identity", "blobs", "state.db*", "keeper.*", "holder.lock", "control")
"""What a member's home may hold that never entered a fleet; whoever gave the folder may keep other things in it."""

_OTHER = {Role.OWNER: "propolis join INVITATION takes it", Role.NODE: "propolis node join INVITATION takes it"}


def enlist(
    home: Path,
    invited: Invitation,
    role: Role,
    member: Callable[[], NodeId] | None = None,
    *,
    rehearse: bool = False,
) -> None:
    """Note the fleet in a member's home, unless it is in there already; the token is spent at the first start.

    `member`: asked for a node's key when the invitation is good for it, to make its credential. `rehearse`: an owner accepts
    from now on what emulated TPMs prove.
    Raises InvitationRefused, ConfigError.
    """
    if invited.role is not role:
        raise InvitationRefused(f"this invitation is for {_named(invited.role)}", hint=_OTHER[invited.role])
    known = config.read(home / "fleet.json", config.FleetFile)
    if known is not None and not known.token and known.fleet != invited.fleet.hex():
        raise ConfigError(f"{home} already belongs to another fleet; use another --home")
    if known is not None and not known.token:  # a member; its computer may have to look for the fleet elsewhere now
        kept = msgspec.structs.replace(known, addresses=invited.addresses, rehearsal=known.rehearsal or rehearse)
        config.write(home / "fleet.json", kept)
        return
    now = int(time.time())
    if 0 < invited.until < now:
        raise InvitationRefused(
            f"this invitation expired at {datetime.fromtimestamp(invited.until, UTC):%Y-%m-%d %H:%M} UTC"
        )
    proof = ""
    if invited.secret and member is not None:
        taken = credential.take(invited.secret, invited.granted, member(), until=invited.until, joined=now)
        proof = codec.encode(taken).hex()
    record = config.FleetFile(
        fleet=invited.fleet.hex(),
        addresses=invited.addresses,
        token=invited.token.hex(),
        operator=invited.operator.hex(),
        credential=proof,
        rehearsal=rehearse,
    )
    config.write(home / "fleet.json", record)


def take_back(home: Path, *, keep_key: bool) -> None:
    """Undo `enlist` where no fleet was entered; a home that is a member stays one, and what is not ours stays where it is."""
    known = config.read(home / "fleet.json", config.FleetFile)
    if known is None or not known.token:
        return
    (home / "fleet.json").unlink()
    if keep_key:
        return
    for name in OURS:  # a key no fleet knows and a store without a job
        for found in home.glob(name):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    for folder in (home, home.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _named(role: Role) -> str:
    return "an owner" if role is Role.OWNER else "a node"
