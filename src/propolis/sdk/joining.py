"""What an invitation writes into a home before the fleet was asked, and how it goes again when the answer is no.

An invitation that was used already must leave no home behind that says it belongs to a fleet. The key stays when nobody
answered: the fleet may have let us in with that key, and then only that key is a member.
"""

import shutil
from pathlib import Path

from propolis.messages.membership import Role
from propolis.runtime import config
from propolis.runtime.invitation import Invitation
from propolis.terms.errors import ConfigError, InvitationRefused


def note(folder: Path, invited: Invitation) -> None:
    """Note the fleet in an owner's folder, unless it is in there already. Raises InvitationRefused, ConfigError."""
    if invited.role is not Role.OWNER:
        raise InvitationRefused("this invitation is for a node", hint="propolis node join INVITATION takes it")
    known = config.read(folder / "fleet.json", config.FleetFile)
    if known is not None and not known.token and known.fleet != invited.fleet.hex():
        raise ConfigError(f"{folder} already belongs to another fleet; use another home")
    if known is None or known.token:
        record = config.FleetFile(
            fleet=invited.fleet.hex(),
            addresses=invited.addresses,
            token=invited.token.hex(),
            operator=invited.operator.hex(),
        )
        config.write(folder / "fleet.json", record)


def take_back(folder: Path, *, keep_key: bool) -> None:
    """Undo `note` where no fleet was entered; a home that is a member stays one."""
    known = config.read(folder / "fleet.json", config.FleetFile)
    if known is None or not known.token:
        return
    (folder / "fleet.json").unlink()
    if keep_key:
        return
    shutil.rmtree(folder)  # it held a key no fleet knows and a store without a job
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
