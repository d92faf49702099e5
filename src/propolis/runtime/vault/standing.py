"""What can be said of a vault without its secret: unauthenticated, so for people to look at, and for nothing to decide by."""

import msgspec

from propolis.crypto.vault import conditions as demands
from propolis.crypto.vault import state as files
from propolis.crypto.vault.state import Header, TpmHome
from propolis.decisions import vault as verdicts
from propolis.ports.vault import ChipHome, Folder
from propolis.runtime.vault import opening
from propolis.runtime.vault.homes import needed
from propolis.terms.errors import TpmError, VaultError

HARDWARE, EMULATED, NOT_ASKED, NO_TPM = (
    "a TPM says it is hardware",
    "none: the TPM is emulated",
    "not asked",
    "none: no TPM",
)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A vault from outside. `asks` = PIN, passphrase or nothing; `standing` = current, or what is off, with `way_out`."""

    vault: str
    epoch: int
    generation: int
    kept_by: str
    asks: str
    registers: tuple[int, ...]
    policy: str
    counters: bool
    hardware_root: str
    standing: str
    way_out: str


def asks(header: Header) -> str:
    """Return what a person is asked for."""
    if isinstance(header.home, TpmHome):
        return "PIN" if header.home.pin else ""
    return "passphrase"


def _kept_by(header: Header, root: str) -> str:
    if not isinstance(header.home, TpmHome):
        return "passphrase"
    if root == NOT_ASKED:
        return "TPM, emulated or not: it was not asked"
    return "emulated TPM" if root == EMULATED else "TPM"


def standing(folder: Folder, chip: ChipHome | None) -> Standing:
    """Look at a vault from outside. Raises ConfigError where there is none, VaultDamaged where the file is none."""
    header = files.split(opening.load(folder)).header
    home = header.home
    root, said, way_out = NO_TPM, "current", ""
    if isinstance(home, TpmHome):
        root = NOT_ASKED
        try:
            seen = opening.look(header, needed(chip))
            root = EMULATED if seen.emulated else HARDWARE
            opening.agreed(header, needed(chip))
            verdicts.chosen(home, files.conditions(header), seen.registers)
        except (TpmError, VaultError) as error:
            said, way_out = str(error), error.way_out
    return Standing(
        vault=header.vault.hex(),
        epoch=header.epoch,
        generation=header.generation,
        kept_by=_kept_by(header, root),
        asks=asks(header) or "nothing",
        registers=tuple(register for register, _ in home.approvals[-1].values) if isinstance(home, TpmHome) else (),
        policy=demands.digest(files.conditions(header)).hex() if isinstance(home, TpmHome) else "",
        counters=bool(header.counter),
        hardware_root=root,
        standing=said,
        way_out=way_out,
    )
