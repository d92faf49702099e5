"""From a state file and a secret to the vault's key, and what the TPM's counters say of it (docs/specs/vault.md, 8, 14, 15)."""

from collections.abc import Callable, Mapping

import msgspec

from propolis.crypto.vault import index as shelf
from propolis.crypto.vault import state as files
from propolis.crypto.vault import wraps
from propolis.crypto.vault.state import Header, PassphraseHome, State, TpmHome
from propolis.decisions import vault as verdicts
from propolis.ports.vault import ChipHome, Folder
from propolis.runtime.vault.homes import needed
from propolis.terms.errors import ConfigError, TpmError, VaultError, WrongSecret
from propolis.terms.vault import Chip, VaultId

TRIES = 5  # a writer may replace the state while we look: then we look again

Unlock = Callable[[State], "Unlocked"]


class Unlocked(msgspec.Struct, frozen=True):
    """A key, and the TPM's counts as they were when it came out (empty where no TPM was asked)."""

    kek: bytes
    counts: Mapping[int, int]

    def __repr__(self) -> str:
        return "Unlocked(…)"  # a traceback or a log shows it, and it holds a secret


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An authentic state: its bytes, its header, the key, what is held; the TPM's counts where they were asked."""

    data: bytes
    header: Header
    kek: bytes
    index: shelf.Index
    counts: Mapping[int, int] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return "Opened(…)"  # a traceback or a log shows it, and it holds a secret

    @property
    def vault(self) -> VaultId:
        """The vault's id."""
        return VaultId(self.header.vault)


def load(folder: Folder) -> bytes:
    """Return the state file. Raises ConfigError where there is none."""
    data = folder.state()
    if data is None:
        raise ConfigError(
            f"there is no vault in {folder.where}", hint="propolis vault create makes one; --vault names its folder"
        )
    return data


def vacant(folder: Folder) -> None:
    """Raises ConfigError where there is a vault."""
    if folder.state() is not None:
        raise ConfigError("there is a vault here already", hint="choose another folder: --vault FOLDER")


def look(header: Header, chip: ChipHome) -> Chip:
    """Ask the TPM about everything that this header depends on. Raises TpmError, as `judge` words it."""
    registers: set[int] = set()
    if isinstance(header.home, TpmHome):
        registers = {register for approval in header.home.approvals for register, _ in approval.values}
    try:
        return chip.look(sorted(registers), verdicts.wanted(header))
    except TpmError as error:
        raise verdicts.judge(error, pin=False) from error


def agreed(header: Header, chip: ChipHome) -> Chip:
    """Hold a header against the TPM: same chip, same epoch, same history. Raises TpmError, VaultError."""
    seen = look(header, chip)
    if isinstance(header.home, TpmHome):
        verdicts.same_chip(header.home, seen, verdicts.wanted(header))
        verdicts.epoch(header.home, seen.counts)
    verdicts.generation(header, seen.counts)
    return seen


def by_secret(chip: ChipHome | None, secret: str | None) -> Unlock:
    """Return how to open by the vault's own home: the TPM (with the PIN, where one is asked) or the passphrase."""

    def unlock(state: State) -> Unlocked:
        header = state.header
        if isinstance(header.home, PassphraseHome):
            if not secret:
                raise WrongSecret("the vault asks for its passphrase")
            kek = wraps.with_passphrase(header.home, secret, VaultId(header.vault), header.epoch)
            return Unlocked(kek, {})
        return from_tpm(header, header.home, needed(chip), secret)

    return unlock


def from_tpm(header: Header, home: TpmHome, chip: ChipHome, pin: str | None) -> Unlocked:
    """Let the TPM open the key. Raises what step 15 lists."""
    if home.pin and not pin:
        raise WrongSecret("the vault asks for its PIN")
    vault = VaultId(header.vault)
    seen = look(header, chip)
    verdicts.same_chip(home, seen, verdicts.wanted(header))
    verdicts.epoch(home, seen.counts)
    asked = files.conditions_of(vault, home)
    approval = verdicts.chosen(home, asked, seen.registers)
    auth = wraps.pin_auth(pin, vault) if home.pin and pin else b""
    try:
        kek = chip.unseal(home.sealed, home.storage, asked, approval, auth)
    except TpmError as error:
        raise verdicts.judge(error, pin=home.pin) from error
    return Unlocked(kek, seen.counts)


def by_code(code: bytes) -> Unlock:
    """Return how to open by the recovery code: no TPM is asked, no counter is looked at."""

    def unlock(state: State) -> Unlocked:
        header = state.header
        return Unlocked(wraps.with_recovery(header.recovery, code, VaultId(header.vault), header.epoch), {})

    return unlock


def believed(data: bytes, state: State, unlocked: Unlocked) -> Opened:
    """Authenticate a state by the key that it led to. Raises VaultDamaged, VaultRolledBack."""
    files.authentic(unlocked.kek, state)
    if unlocked.counts:
        verdicts.generation(state.header, unlocked.counts)
    vault = VaultId(state.header.vault)
    held = shelf.open_index(unlocked.kek, vault, state.index, files.digest(state.raw))
    return Opened(data=data, header=state.header, kek=unlocked.kek, index=held, counts=unlocked.counts)


def opened(folder: Folder, unlock: Unlock) -> Opened:
    """Open a vault. Raises VaultError, TpmError, StoreError, ConfigError."""
    data = load(folder)
    for _ in range(TRIES):
        try:
            state = files.split(data)
            return believed(data, state, unlock(state))
        except WrongSecret:
            raise
        except VaultError:
            again = load(folder)
            if again == data:
                raise
            data = again
    state = files.split(data)
    return believed(data, state, unlock(state))
