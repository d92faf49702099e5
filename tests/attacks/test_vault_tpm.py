"""What survives what, each row against a real (emulated) TPM: nothing lost without a word, nothing released that should not be."""

import secrets
import shutil

import msgspec
import pytest

from propolis.adapters.tpm import keys, storage
from propolis.adapters.tpm.client import OWNER, Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.recorded import Recorder
from propolis.adapters.tpm.session import Password
from propolis.adapters.tpm.vaulting import TpmChip
from propolis.adapters.vault.files import FileFolder
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Alg, Command, Tag
from propolis.crypto.tpm.marshal import u16, u32
from propolis.crypto.vault import state as files
from propolis.crypto.vault import wraps
from propolis.crypto.vault.state import conditions
from propolis.runtime.vault import standing
from propolis.runtime.vault.vault import ByPassphrase, InTpm, Vault, World
from propolis.terms.errors import (
    PolicyChanged,
    TpmBusy,
    TpmError,
    TpmLocked,
    TpmMissing,
    VaultForeign,
    VaultRevoked,
    VaultRolledBack,
    WrongSecret,
)
from propolis.terms.vault import VaultId

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
DATA = {("a", 1): b"precious"}
PIN = "2580"


class Machine:
    """One computer: its TPM and its disk."""

    def __init__(self, home, wish=None):
        self.home, self.wish = home, wish or InTpm(pin=PIN)
        self.emulator = Emulator(home / "tpm")
        self.emulator.start()
        self.world = self.with_line(self.emulator.line)
        self.vault, self.code = Vault.create(self.world, self.wish)
        self.vault.put("a", [b"precious"])

    def with_line(self, line):
        return World(FileFolder(self.home / "vault"), TpmChip(line, SystemEntropy()), SystemEntropy(), lambda: 1)

    def open(self, pin=None):
        return Vault.open(self.world, pin or self.wish.pin)

    def restart(self):
        """A power cut and a new start."""
        self.emulator.kill()
        self.emulator.start()

    def snapshot(self, what):
        """Copy a folder of the machine; it is off meanwhile where that is the TPM's."""
        copy = self.home / f"{what}.then"
        shutil.copytree(self.home / what, copy, ignore=shutil.ignore_patterns("s"))
        return copy

    def restore(self, what):
        shutil.rmtree(self.home / what)
        shutil.copytree(self.home / f"{what}.then", self.home / what)

    def raw(self, call):
        with Tpm(self.emulator.line(), SystemEntropy()) as tpm:
            return call(tpm)


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.emulator.kill()


def contents(vault):
    return {(item.name, item.version): b"".join(vault.get(item.name, item.version)[1]) for item in vault.stored()}


def test_a_restart_and_a_power_cut_lose_nothing(machine):
    for _ in range(3):
        machine.restart()
        vault = machine.open()
        assert (contents(vault), vault.notes) == (DATA, ())


def test_a_tpm_that_dies_at_any_command_is_told_and_nothing_is_lost(machine):
    """kill -9 of the TPM before the n-th command of a revocation, and again of the opening after it."""
    asked = 0

    class Dying(Recorder):
        def transact(self, command):
            nonlocal asked
            asked -= 1
            if asked == 0:
                machine.emulator.kill()
            return super().transact(command)

    dying = machine.with_line(lambda: Dying(machine.emulator.line()))
    died = 0
    for steps in range(1, 200, 7):
        asked = steps
        try:
            Vault.open(dying, PIN).revoke(PIN)
        except TpmError:
            died += 1
        machine.restart()
        machine.raw(storage.unlock)  # an unclean stop counts as a wrong PIN
        assert contents(machine.open()) == DATA
        if asked > 0:
            break
    assert died > 3
    assert asked > 0


def test_a_cleared_tpm_is_told_and_the_recovery_code_opens(machine):
    machine.raw(storage.clear)
    with pytest.raises(VaultForeign) as told:
        machine.open()
    assert "recover" in told.value.way_out
    assert contents(Vault.recover(machine.world, machine.code, machine.wish)) == DATA
    assert contents(machine.open()) == DATA


def test_a_foreign_tpm_opens_nothing(machine, tmp_path):
    """The disk in another machine: also with that machine's storage key written into the header."""
    other = Emulator(tmp_path / "other")
    other.start()
    try:
        world = machine.with_line(other.line)
        with pytest.raises(VaultForeign):
            Vault.open(world, PIN)
        state = files.split(world.folder.state())
        home = msgspec.structs.replace(state.header.home, storage=world.chip.look((), ()).storage)
        asked = conditions(state.header)
        with pytest.raises(TpmError) as told:
            world.chip.unseal(
                home.sealed, home.storage, asked, home.approvals[0], wraps.pin_auth(PIN, VaultId(state.header.vault))
            )
        assert told.value.response == 0x1DF
    finally:
        other.kill()


def test_another_boot_is_told_by_register_and_approved_with_the_code(machine):
    machine.raw(lambda tpm: tpm.pcr_extend(7, bytes(32)))
    with pytest.raises(PolicyChanged, match="register 7"):
        machine.open()
    Vault.approve_by_code(machine.world, machine.code)
    assert contents(machine.open()) == DATA
    machine.restart()
    assert contents(machine.open()) == DATA


def test_registers_that_change_while_the_tpm_is_asked_release_nothing(machine):
    """Root moves the register between our look and the unsealing: the TPM itself says no."""

    class Moving(Recorder):
        def transact(self, command):
            if int.from_bytes(command[6:10], "big") == Command.POLICY_PCR:
                area = u32(7) + u32(9) + Password().area(b"") + u32(1) + u16(Alg.SHA256) + bytes(31) + b"\1"
                extend = u16(Tag.SESSIONS) + u32(10 + len(area)) + u32(Command.PCR_EXTEND) + area
                assert super().transact(extend)[6:10] == bytes(4)
            return super().transact(command)

    with pytest.raises(PolicyChanged):
        Vault.open(machine.with_line(lambda: Moving(machine.emulator.line())), PIN)


def guess(machine):
    """Return what a wrong PIN is told as."""
    try:
        machine.open("0000")
    except (WrongSecret, TpmLocked) as told:
        return told
    raise AssertionError("a wrong PIN opened the vault")


def test_wrong_pins_until_the_lockout_and_then_the_recovery_code(machine):
    told = [guess(machine) for _ in range(12)]
    locked = [isinstance(error, TpmLocked) for error in told]
    assert locked == sorted(locked)
    assert not locked[0]
    assert "recover" in told[-1].way_out
    with pytest.raises(TpmLocked):
        machine.open()
    assert (
        contents(Vault.recover(machine.world, machine.code, ByPassphrase(passphrase="correct horse", cost=14))) == DATA
    )


def test_a_revoked_header_never_opens_again(machine):
    machine.snapshot("vault")
    machine.vault.revoke(PIN)
    machine.restore("vault")
    with pytest.raises(VaultRevoked):
        machine.open()
    state = files.split(machine.world.folder.state())
    home, auth = state.header.home, wraps.pin_auth(PIN, VaultId(state.header.vault))
    with pytest.raises(TpmError) as told:  # and the TPM itself, asked past every check of ours
        machine.world.chip.unseal(home.sealed, home.storage, conditions(state.header), home.approvals[0], auth)
    assert told.value.response == 0x126
    machine.raw(lambda tpm: storage.undefine(tpm, storage.counter(home.epoch_counter)))
    with pytest.raises(VaultForeign):
        machine.open()


def test_a_counter_made_again_is_above_the_old_one(machine):
    """Root removes the epoch counter and makes it again to begin anew: a counter begins above all that were."""
    machine.snapshot("vault")
    machine.vault.revoke(PIN)
    machine.restore("vault")
    index = files.split(machine.world.folder.state()).header.home.epoch_counter

    def again(tpm):
        storage.undefine(tpm, storage.counter(index))
        with keys.storage_key(tpm) as srk, tpm.session(srk) as session:
            storage.define_counter(tpm, index, session)

    machine.raw(again)
    with pytest.raises(VaultRevoked):
        machine.open()


def test_older_files_are_told_by_the_counter(machine):
    machine.snapshot("vault")
    machine.vault.put("a", [b"newer"])
    machine.restore("vault")
    with pytest.raises(VaultRolledBack, match="1 changes older"):
        machine.open()


def test_a_restored_tpm_snapshot_is_told_where_the_files_are_newer(machine):
    machine.emulator.kill()
    machine.snapshot("tpm")
    machine.emulator.start()
    for n in range(2):
        machine.vault.put("a", [bytes([n])])
    machine.emulator.kill()
    machine.restore("tpm")
    machine.emulator.start()
    with pytest.raises(VaultRolledBack, match="set back to a snapshot"):
        machine.open()
    back = Vault.recover(machine.world, machine.code, machine.wish)
    assert any("snapshot" in note for note in back.notes)
    assert contents(machine.open()) == {("a", 3): b"\1"}


def test_files_and_tpm_restored_together_cannot_be_told(machine):
    """The limit that docs/specs/vault.md states: only somebody outside remembers more."""
    machine.emulator.kill()
    machine.snapshot("tpm")
    machine.snapshot("vault")
    machine.emulator.start()
    machine.vault.put("a", [b"newer"])
    machine.vault.revoke(PIN)
    machine.emulator.kill()
    machine.restore("tpm")
    machine.restore("vault")
    machine.emulator.start()
    assert contents(machine.open()) == DATA


def test_a_tap_on_the_bus_sees_neither_key_nor_pin(machine):
    taps = []

    def tapped():
        taps.append(Recorder(machine.emulator.line()))
        return taps[-1]

    vault = Vault.open(machine.with_line(tapped), PIN)
    vault.revoke(PIN)
    vault = Vault.open(machine.with_line(tapped), PIN)
    kek = vault._desk.current.kek
    auth = wraps.pin_auth(PIN, VaultId(vault.header.vault))
    words = [word for tap in taps for exchange in tap.exchanges for word in exchange]
    assert len(words) > 40
    assert not any(kek in word or auth in word or PIN.encode() in word for word in words)


def test_who_sits_on_the_bus_gets_no_other_registers_approved(machine):
    """The admin key signs for the registers that the TPM tells: told in clear, they would be anybody's."""
    real = machine.raw(lambda tpm: tpm.pcr_read([7]))[7]

    class Between(Recorder):
        def transact(self, command):
            return super().transact(command).replace(real, b"\x66" * 32)

    with pytest.raises(TpmError, match="changed on its way"):
        Vault.approve_by_code(machine.with_line(lambda: Between(machine.emulator.line())), machine.code)
    assert [dict(approval.values) for approval in machine.open().header.home.approvals] == [{7: real}]


def test_who_sits_on_the_bus_cannot_say_that_a_revocation_was_counted(machine):
    """Swallowed, it would leave older copies open, and nobody the wiser."""
    counted = u16(Tag.SESSIONS) + u32(19) + u32(0) + u32(0) + b"\0\0\1\0\0"

    class Swallowing(Recorder):
        def transact(self, command):
            return counted if command[6:10] == u32(Command.NV_INCREMENT) else super().transact(command)

    vault = Vault.open(machine.with_line(lambda: Swallowing(machine.emulator.line())), PIN)
    with pytest.raises(TpmError, match="changed on its way"):
        vault.revoke(PIN)
    assert "completed now" in machine.open().notes[0]


def test_who_sits_on_the_bus_cannot_say_that_a_new_counter_counted(tmp_path, machine):
    """The first count of a counter bears no session: swallowed, there is nothing to read, and no vault is made."""
    counted = u16(Tag.SESSIONS) + u32(19) + u32(0) + u32(0) + b"\0\0\1\0\0"

    class Swallowing(Recorder):
        def transact(self, command):
            return counted if command[6:10] == u32(Command.NV_INCREMENT) else super().transact(command)

    world = machine.with_line(lambda: Swallowing(machine.emulator.line()))
    folder = FileFolder(tmp_path / "another")
    with pytest.raises(TpmError):
        Vault.create(world._replace(folder=folder), InTpm())
    assert folder.state() is None


def test_a_tpm_without_room_is_told_as_busy(machine):
    """Another program left its keys loaded; on a line without a sweep."""

    class Shared(Recorder):
        emulated = False

    left = Tpm(machine.emulator.line(), SystemEntropy())
    for _ in range(3):
        left.engine.run(
            Command.CREATE_PRIMARY,
            [OWNER],
            b"\0\4\0\0\0\0" + len(public.srk_ecc()).to_bytes(2, "big") + public.srk_ecc() + bytes(6),
            [Password()],
            returns_handle=True,
        )
    left.engine.line.close()  # as a killed process does
    with pytest.raises(TpmBusy):
        Vault.open(machine.with_line(lambda: Shared(machine.emulator.line())), PIN)
    assert contents(machine.open()) == DATA


def test_an_emulated_tpm_is_called_one(machine):
    found = standing.standing(machine.world.folder, machine.world.chip)
    assert (found.hardware_root, found.standing) == ("none: the TPM is emulated", "current")


def test_a_tpm_that_is_gone_is_told(machine):
    machine.emulator.kill()
    with pytest.raises(TpmMissing) as told:
        machine.open()
    assert "recover" in told.value.way_out


def test_two_vaults_of_one_machine_do_not_meet(machine):
    folder = FileFolder(machine.home / "second")
    world = machine.world._replace(folder=folder)
    second, code = Vault.create(world, InTpm())
    second.put("b", [secrets.token_bytes(8)])
    second.revoke(None)
    assert contents(machine.open()) == DATA
    folder.replace(machine.world.folder.state())
    with pytest.raises(WrongSecret):
        Vault.recover(world, code, InTpm())
