"""What a vault and its TPM say together: current, unfinished, revoked, set back; and what a TPM's refusal means.

docs/specs/vault.md, steps 8, 14 and 15. Pure: numbers and codes in, a verdict or a typed error out.
"""

from collections.abc import Mapping

from propolis.crypto.vault import conditions as demands
from propolis.crypto.vault.state import Header, TpmHome
from propolis.terms.errors import (
    PolicyChanged,
    PropolisError,
    TpmBusy,
    TpmError,
    TpmLocked,
    TpmMissing,
    VaultDamaged,
    VaultForeign,
    VaultRevoked,
    VaultRolledBack,
    WrongSecret,
)
from propolis.terms.vault import Approval, Chip, Conditions

BUSY = (0x902, 0x903, 0x905, 0x908, 0x90A, 0x922, 0x923)  # no room, no session, not ready, NV storage busy
NO_HANDLE, AUTH, BAD_AUTH, POLICY, POLICY_FAIL, INTEGRITY, SIGNATURE = 0x08B, 0x08E, 0x0A2, 0x126, 0x09D, 0x09F, 0x09B
RECOVER = "propolis vault recover opens it with the recovery code"


def wanted(header: Header) -> tuple[int, ...]:
    """Return the counters that a header names."""
    epoch = header.home.epoch_counter if isinstance(header.home, TpmHome) else 0
    return tuple(index for index in (epoch, header.counter) if index)


def same_chip(home: TpmHome, chip: Chip, counters: tuple[int, ...]) -> None:
    """Check that this TPM made the seal and still has its counters. Raises VaultForeign."""
    if chip.storage != home.storage:
        raise VaultForeign("the vault is sealed to another TPM's storage key, or this TPM was cleared since")
    if missing := [index for index in counters if index not in chip.counts]:
        names = " and ".join(f"{index:#x}" for index in missing)
        raise VaultForeign(f"the TPM no longer has the vault's counter {names}: it was cleared, or somebody removed it")


def epoch(home: TpmHome, counts: Mapping[int, int]) -> None:
    """Hold the header's epoch against the TPM's counter. Raises VaultRevoked, VaultRolledBack."""
    if not home.epoch_counter:
        return
    ahead = home.epoch_limit - counts[home.epoch_counter]
    if ahead < 0:
        raise VaultRevoked(f"this copy of the vault was revoked, {-ahead} epochs ago by the TPM's count")
    if ahead > 1:
        raise VaultRolledBack(
            f"the TPM's epoch counter is {ahead} behind the vault: the TPM was set back to a snapshot"
        )


def generation(header: Header, counts: Mapping[int, int]) -> None:
    """Hold the header's generation against the TPM's counter; after its key authenticated it. Raises VaultRolledBack."""
    if not header.counter:
        return
    ahead = header.generation - counts[header.counter]
    if ahead < 0:
        raise VaultRolledBack(f"the vault's files are {-ahead} changes older than its TPM remembers")
    if ahead > 1:
        raise VaultRolledBack(f"the TPM remembers {ahead} changes less than the vault: it was set back to a snapshot")


def unfinished(header: Header, counts: Mapping[int, int]) -> tuple[int, ...]:
    """Return the counters that a change cut in the middle left one behind its header."""
    pairs = [(header.counter, header.generation)]
    if isinstance(header.home, TpmHome):
        pairs.insert(0, (header.home.epoch_counter, header.home.epoch_limit))
    return tuple(index for index, value in pairs if index and value == counts[index] + 1)


def chosen(home: TpmHome, asked: Conditions, registers: Mapping[int, bytes]) -> Approval:
    """Return the approval that fits the machine as it is now. Raises PolicyChanged, naming what differs; VaultDamaged."""
    for approval in home.approvals:
        if all(registers.get(register) == value for register, value in approval.values):
            if not demands.genuine(approval, asked):
                raise VaultDamaged("an approval in the file `vault` is not the admin key's")
            return approval
    newest = home.approvals[-1]
    changed = [str(register) for register, value in newest.values if registers.get(register) != value]
    raise PolicyChanged(f"the machine's register {', '.join(changed)} is not what was approved")


def judge(error: TpmError, *, pin: bool) -> PropolisError:
    """Return what a TPM's refusal to open a vault means, with the way out; `pin`: whether the seal demands one."""
    if isinstance(error, TpmMissing):
        return TpmMissing(str(error), hint=f"{error.way_out}; without it {RECOVER}")
    if isinstance(error, TpmLocked | TpmBusy) or not error.response:
        return error
    code = error.response
    if code in BUSY:
        return TpmBusy(str(error), response=code)
    found = code & 0x0BF if code & 0x080 else code
    if found in (AUTH, BAD_AUTH):
        if pin:
            return WrongSecret(
                "the PIN is wrong; the TPM counts, and locks itself after a few", hint=f"type it again; {RECOVER}"
            )
        return VaultForeign("the TPM demands an authorisation that the vault does not have", hint=RECOVER)
    if found in (POLICY, POLICY_FAIL):
        return PolicyChanged("the TPM says that its state is not what was approved")
    if found in (INTEGRITY, NO_HANDLE):
        return VaultForeign(
            "the TPM did not make this seal: it is another one, was cleared, or the file `vault` was altered"
        )
    if found == SIGNATURE:
        return VaultDamaged("an approval in the file `vault` is not the admin key's")
    return error
