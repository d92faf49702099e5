"""What a vault of this machine stands on: a folder, and its own TPM or by an explicit word an emulated one."""

import time
from pathlib import Path

from propolis.adapters.tpm.vaulting import TpmChip
from propolis.adapters.vault.files import FileFolder
from propolis.adapters.world.system import SystemEntropy
from propolis.node.attesting import line_to
from propolis.ports.vault import ChipHome
from propolis.runtime.vault.vault import World
from propolis.terms.errors import TpmMissing

AUTO, NONE, DEVICE = "auto", "none", "device"


def chip_of(tpm: str | Path) -> ChipHome | None:
    """Return the TPM: `auto` and `device` = this machine's own, `none`, or the socket of an emulated one (no hardware root)."""
    if tpm == NONE:
        return None
    emulator = None if tpm in (AUTO, DEVICE) else Path(tpm)
    return TpmChip(line_to(emulator), SystemEntropy())


def world(folder: Path | str, tpm: str | Path = AUTO) -> World:
    """Return what a vault in this folder stands on."""
    path = Path(folder).expanduser()
    return World(FileFolder(path), chip_of(tpm), SystemEntropy(), lambda: int(time.time()))


def lacking(tpm: str | Path) -> str:
    """Return why no TPM keeps a key here, "" where one does. Raises TpmError where one was asked for by name and none does."""
    chip = chip_of(tpm)
    if chip is None:
        return "no TPM is to be used"
    try:
        chip.look((), ())
    except TpmMissing as error:
        if tpm == AUTO:
            return str(error)
        raise
    return ""
