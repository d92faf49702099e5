"""A vault's life over stand-ins: what it holds, who opens it, what is told when it does not (docs/specs/vault.md)."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from safe import PASSPHRASE, Safe, by_passphrase, contents

from propolis.adapters.vault.chip import MemoryChip
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.vault import index as shelf
from propolis.crypto.vault import state as files
from propolis.crypto.vault import wraps
from propolis.ports.vault import Stage
from propolis.runtime.vault import standing
from propolis.runtime.vault.vault import ByPassphrase, InTpm, Vault
from propolis.terms.errors import (
    ConfigError,
    DataError,
    PolicyChanged,
    TpmError,
    TpmLocked,
    TpmMissing,
    UnknownObject,
    VaultDamaged,
    VaultError,
    VaultForeign,
    VaultRevoked,
    VaultRolledBack,
    WrongSecret,
)
from propolis.terms.vault import ObjectId

HOMES = pytest.mark.parametrize(
    "wish",
    [InTpm(), InTpm(pin="2580"), InTpm(counters=False), by_passphrase()],
    ids=["tpm", "pin", "no-counters", "passphrase"],
)
SIZES = (0, 1, 65535, 65536, 65537, 200_000)


@HOMES
def test_what_is_put_comes_back_also_after_another_opening(wish):
    safe = Safe(wish)
    data = {size: bytes(n % 251 for n in range(size)) for size in SIZES}
    for size in SIZES:
        safe.vault.put(str(size), [data[size]])
    for vault in (safe.vault, safe.open()):
        assert contents(vault) == {(str(size), 1): data[size] for size in SIZES}
    assert safe.open().verify(deep=True) == []


def test_checkpoints_keep_the_newest_versions():
    safe = Safe()
    for n in range(6):
        safe.vault.put("model", [bytes([n])], keep=3 if n == 0 else None)
    assert contents(safe.open()) == {("model", n + 1): bytes([n]) for n in (3, 4, 5)}
    safe.vault.remove("model", 5)
    safe.vault.put("model", [b"new"], keep=2)
    assert contents(safe.vault) == {("model", 6): b"\x05", ("model", 7): b"new"}
    assert len(safe.folder.files) == 2
    with pytest.raises(UnknownObject, match="it has 6, 7"):
        safe.vault.get("model", 5)


def test_a_source_that_fails_changes_nothing():
    safe = Safe()
    safe.vault.put("a", [b"old"])

    def source():
        yield b"new"
        raise OSError("the cable is out")

    with pytest.raises(OSError, match="cable"):
        safe.vault.put("a", source())
    assert contents(safe.vault) == contents(safe.open()) == {("a", 1): b"old"}
    assert len(safe.folder.files) == 1


def test_a_name_that_does_not_show_is_refused_before_anything_is_read():
    def never():
        raise AssertionError("read")
        yield

    with pytest.raises(DataError):
        Safe().vault.put("a\nb", never())


def test_no_secret_is_in_what_a_traceback_shows():
    safe = Safe(InTpm(pin="2580"))
    shown = repr((safe.wish, by_passphrase(), safe.vault._desk.current, safe.vault))
    assert "2580" not in shown
    assert PASSPHRASE not in shown
    assert repr(safe.vault._desk.current.kek) not in shown


def test_a_second_vault_is_not_made_over_the_first():
    safe = Safe()
    with pytest.raises(ConfigError, match="already"):
        Vault.create(safe.world, InTpm())


def test_a_secret_that_is_missing_or_wrong_is_told_apart():
    for wish in (InTpm(pin="2580"), by_passphrase()):
        safe = Safe(wish)
        with pytest.raises(WrongSecret, match="asks for its"):
            Vault.open(safe.world)
        with pytest.raises(WrongSecret, match=r"wrong|not the vault's"):
            safe.open("something else")
        assert safe.open()


def test_a_tpm_that_is_not_there_is_told_with_the_way_out():
    safe = Safe()
    with pytest.raises(TpmMissing) as told:
        Vault.open(safe.world._replace(chip=None))
    assert "recovery code" in told.value.way_out


# -- files that are not what they should be


@pytest.mark.parametrize("how", ["missing", "cut", "grown", "flipped", "swapped", "old"])
def test_an_object_file_that_is_off_is_named(how):
    safe = Safe()
    safe.vault.put("other", [b"o" * 70_000])
    old = next(iter(safe.folder.files.values()))
    first = safe.vault.put("name", [b"1" * 70_000], keep=2)
    second = safe.vault.put("name", [b"2" * 70_000])
    mine, before = (second.object, Stage.WHOLE), (first.object, Stage.WHOLE)
    good = safe.folder.files[mine]
    changed = {
        "cut": good[:-1],
        "grown": good + b"\0",
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "swapped": old,
        "old": safe.folder.files[before],
    }
    if how == "missing":
        del safe.folder.files[mine]
    else:
        safe.folder.files[mine] = changed[how]
    with pytest.raises(VaultDamaged, match=rf"{second.object.hex()}, which is 'name' version 2"):
        b"".join(safe.open().get("name")[1])
    (wrong,) = safe.vault.verify(deep=True)
    assert second.object.hex() in wrong
    assert b"".join(safe.vault.get("name", 1)[1]) == b"1" * 70_000


def test_a_file_grown_by_a_whole_chunk_is_told():
    """Its chunks open, and something follows the last."""
    safe = Safe()
    item = safe.vault.put("name", [b"1" * 65536]).object, Stage.WHOLE
    safe.folder.files[item] += safe.folder.files[item]
    with pytest.raises(VaultDamaged, match="cut or grown"):
        safe.vault.get("name")


def test_chunks_of_one_file_do_not_change_places():
    safe = Safe()
    item = (safe.vault.put("name", [b"1" * 65536 + b"2" * 65536 + b"3"]).object, Stage.WHOLE)
    data, size = safe.folder.files[item], 65536 + 16
    safe.folder.files[item] = data[size : 2 * size] + data[:size] + data[2 * size :]
    with pytest.raises(VaultDamaged):
        b"".join(safe.vault.get("name")[1])


def test_every_changed_bit_of_the_state_file_is_refused():
    safe = Safe()
    safe.vault.put("a", [b"1"])
    good = safe.folder.kept
    for place in range(len(good) * 8):
        changed = bytearray(good)
        changed[place // 8] ^= 1 << place % 8
        safe.folder.kept = bytes(changed)
        with pytest.raises((VaultError, TpmMissing)):
            safe.open()
    safe.folder.kept = good
    assert contents(safe.open()) == {("a", 1): b"1"}


def test_a_header_that_asks_less_of_the_tpm_is_refused_by_the_tpm():
    """Who holds the disk takes the PIN, the counter or the registers out of the header: the seal carries them itself."""
    safe = Safe(InTpm(pin="2580"))
    found = files.split(safe.folder.kept)
    home = found.header.home
    wider = msgspec.structs.replace(home.approvals[0], values=((16, bytes(32)),))
    for less in ({"pin": False}, {"epoch_counter": 0}, {"epoch_limit": home.epoch_limit + 1}, {"approvals": (wider,)}):
        header = msgspec.structs.replace(found.header, home=msgspec.structs.replace(home, **less))
        raw = files.encode(header)
        safe.folder.kept = files.MAGIC + len(raw).to_bytes(4, "big") + raw + found.mac + found.index
        with pytest.raises((PolicyChanged, VaultDamaged)):
            safe.open()


# -- the life of the key


@HOMES
def test_a_new_epoch_has_a_new_key_and_the_same_contents(wish):
    safe = Safe(wish)
    safe.vault.put("a", [b"1"])
    before = safe.folder.kept
    safe.vault.revoke(safe.secret)
    safe.vault.put("b", [b"2"])
    assert contents(safe.open()) == {("a", 1): b"1", ("b", 1): b"2"}
    old = files.split(before)
    assert files.split(safe.folder.kept).header.recovery.public == old.header.recovery.public
    safe.folder.kept = before
    if isinstance(wish, InTpm) and wish.counters:
        with pytest.raises(VaultRevoked, match="1 epochs ago"):
            safe.open()
        assert contents(Vault.recover(safe.world, safe.code, wish)) == {("a", 1): b"1"}
    else:  # nothing counts here: the page says so, and the file that the old index does not name is told
        assert any("not in the index" in note for note in safe.open().notes)


def test_another_pin_revokes_the_copy_that_the_old_one_opened():
    safe = Safe(InTpm(pin="2580"))
    before = safe.folder.kept
    safe.vault.revoke("9999")
    with pytest.raises(WrongSecret):
        safe.open("2580")
    assert safe.open("9999")
    safe.folder.kept = before
    with pytest.raises(VaultRevoked):
        safe.open("2580")


def test_a_pin_may_come_and_go():
    safe = Safe(InTpm())
    safe.vault.revoke("2580")
    with pytest.raises(WrongSecret):
        Vault.open(safe.world)
    safe.open("2580").revoke(None)
    assert Vault.open(safe.world)


def test_an_open_vault_whose_key_was_replaced_elsewhere_says_so():
    safe = Safe()
    other = safe.open()
    safe.vault.revoke(None)
    for call in (other.stored, lambda: other.put("a", [b""]), lambda: other.get("a")):
        with pytest.raises(VaultRevoked, match="meanwhile"):
            call()


def test_two_openings_see_each_others_changes():
    safe = Safe()
    other = safe.open()
    safe.vault.put("a", [b"1"])
    assert contents(other) == {("a", 1): b"1"}
    other.put("a", [b"2"])
    assert contents(safe.vault) == {("a", 2): b"2"}


def test_a_change_made_while_another_opens_is_no_rollback():
    """Between our reading of the state and our look at the counters, somebody else writes."""
    safe = Safe()
    look = safe.chip.look

    def meanwhile(registers, counters):
        safe.chip.look = look
        safe.vault.put("a", [b"1"])
        safe.vault.put("a", [b"2"])
        return look(registers, counters)

    safe.chip.look = meanwhile
    assert contents(safe.open()) == {("a", 2): b"2"}


def test_a_version_removed_while_it_is_looked_for_is_unknown_and_not_damaged():
    safe = Safe()
    other = safe.open()
    safe.vault.put("a", [b"1"])
    other.stored()
    read = safe.folder.read

    def meanwhile(item):
        safe.folder.read = read
        safe.vault.put("a", [b"2"])
        return read(item)

    safe.folder.read = meanwhile
    assert b"".join(other.get("a")[1]) == b"2"


def test_a_new_code_is_told_before_it_counts_and_the_old_one_opens_no_newer_state():
    safe, told = Safe(), []
    safe.vault.revoke(None, new_code=told.append)
    with pytest.raises(WrongSecret, match="replaced"):
        Vault.recover(safe.world, safe.code, InTpm())
    assert Vault.recover(safe.world, told[0], InTpm())

    def refuses(code):
        raise DataError("the printer is out of paper")

    before = safe.folder.kept
    with pytest.raises(DataError):
        safe.open().revoke(None, new_code=refuses)
    assert safe.folder.kept == before


def test_a_changed_machine_is_approved_without_a_new_seal():
    safe = Safe()
    safe.vault.put("a", [b"1"])
    sealed = safe.vault.header.home.sealed
    safe.chip.registers[7] = b"\x07" * 32
    with pytest.raises(PolicyChanged, match="register 7"):
        safe.open()
    with pytest.raises(WrongSecret):
        Vault.approve_by_code(safe.world, Safe().code)
    Vault.approve_by_code(safe.world, safe.code)
    assert contents(safe.open()) == {("a", 1): b"1"}
    assert safe.open().header.home.sealed == sealed
    safe.chip.registers[7] = bytes(32)
    assert safe.open()  # the older state is still approved, until recover or a fifth one


def test_approvals_of_a_former_home_stay_ended_whatever_came_in_between():
    """TPM, passphrase, TPM again: an approval of the first time, put into the header of now, is for another series."""
    safe = Safe()
    first = safe.vault.header.home.approvals[0]
    Vault.recover(safe.world, safe.code, by_passphrase())
    Vault.recover(safe.world, safe.code, InTpm())
    found = files.split(safe.folder.kept)
    assert first.values == found.header.home.approvals[0].values
    header = msgspec.structs.replace(found.header, home=msgspec.structs.replace(found.header.home, approvals=(first,)))
    raw = files.encode(header)
    safe.folder.kept = files.MAGIC + len(raw).to_bytes(4, "big") + raw + found.mac + found.index
    with pytest.raises(VaultDamaged, match="not the admin key's"):
        safe.open()


def test_approvals_are_bounded_and_the_oldest_goes():
    safe = Safe()
    for n in range(1, 6):
        safe.chip.registers[7] = bytes([n]) * 32
        Vault.approve_by_code(safe.world, safe.code)
    assert len(safe.open().header.home.approvals) == 4
    safe.chip.registers[7] = bytes(32)
    with pytest.raises(PolicyChanged):
        safe.open()


def test_an_admin_key_of_its_own_approves_and_opens_nothing_by_itself():
    admin = ec.generate_private_key(ec.SECP256R1())
    safe = Safe(InTpm(pin="2580", admin=admin))
    safe.chip.registers[7] = b"\x07" * 32
    with pytest.raises(WrongSecret, match="not the one that approves"):
        Vault.approve_by_code(safe.world, safe.code)
    with pytest.raises(WrongSecret, match="PIN is wrong"):
        Vault.approve_by_key(safe.world, admin, "0000")
    with pytest.raises(PolicyChanged):
        safe.open()
    Vault.approve_by_key(safe.world, admin, "2580")
    assert safe.open()


def test_an_admin_key_signs_for_no_registers_that_only_an_altered_header_names():
    admin = ec.generate_private_key(ec.SECP256R1())
    safe = Safe(InTpm(admin=admin))
    state = files.split(safe.folder.kept)
    (approval,) = state.header.home.approvals
    easy = msgspec.structs.replace(approval, values=((16, bytes(32)),))  # anybody may reset register 16
    home = msgspec.structs.replace(state.header.home, approvals=(easy,))
    raw = files.encode(msgspec.structs.replace(state.header, home=home))
    safe.folder.kept = files.MAGIC + len(raw).to_bytes(4, "big") + raw + state.mac + state.index
    asked = []
    safe.chip.unseal = lambda *words: asked.append(words)
    with pytest.raises(VaultDamaged, match="not the admin key's"):
        Vault.approve_by_key(safe.world, admin, None)
    assert asked == []


def test_a_passphrase_vault_has_nothing_to_approve():
    safe = Safe(by_passphrase())
    with pytest.raises(ConfigError, match="depends on no state"):
        Vault.approve_by_code(safe.world, safe.code)


def test_wrong_pins_lock_and_the_recovery_code_still_opens():
    safe = Safe(InTpm(pin="2580"))
    safe.vault.put("a", [b"1"])
    for _ in range(5):
        with pytest.raises(WrongSecret):
            safe.open("0000")
    with pytest.raises(TpmLocked):
        safe.open()
    assert contents(Vault.recover(safe.world, safe.code, by_passphrase())) == {("a", 1): b"1"}
    assert Vault.open(safe.world, PASSPHRASE)


def test_another_tpm_and_a_cleared_one_are_told_and_recovered():
    safe = Safe()
    safe.vault.put("a", [b"1"])
    other = safe.world._replace(chip=MemoryChip(SystemEntropy()))
    with pytest.raises(VaultForeign, match="another TPM"):
        Vault.open(other)
    safe.chip.clear()
    with pytest.raises(VaultForeign):
        safe.open()
    back = Vault.recover(safe.world, safe.code, InTpm())
    assert any("accepted on your word" in note for note in back.notes)
    assert contents(safe.open()) == {("a", 1): b"1"}
    with pytest.raises(VaultForeign):
        Vault.open(other)


# -- histories


def test_older_files_are_told_and_accepted_on_the_holders_word_alone():
    safe = Safe()
    safe.vault.put("a", [b"1"])
    kept, held = safe.folder.kept, dict(safe.folder.files)
    safe.vault.put("a", [b"2"], keep=2)
    safe.vault.put("b", [b"3"])
    safe.folder.kept, safe.folder.files = kept, held
    with pytest.raises(VaultRolledBack, match="2 changes older"):
        safe.open()
    with pytest.raises(VaultRolledBack, match="while it was open"):
        safe.vault.stored()
    back = Vault.recover(safe.world, safe.code, InTpm())
    assert any("2 changes older" in note for note in back.notes)
    assert contents(safe.open()) == {("a", 1): b"1"}


def test_a_tpm_that_was_set_back_is_told():
    safe = Safe()
    then = dict(safe.chip.counts)
    safe.vault.put("a", [b"1"])
    safe.vault.put("a", [b"2"])
    safe.chip.counts = then
    with pytest.raises(VaultRolledBack, match="remembers 2 changes less"):
        safe.open()


def test_files_and_tpm_set_back_together_are_not_noticed():
    """The limit that the page states: nothing on this machine remembers more."""
    safe = Safe()
    safe.vault.put("a", [b"1"])
    then = dict(safe.chip.counts), safe.folder.kept, dict(safe.folder.files)
    safe.vault.put("a", [b"2"])
    safe.chip.counts, safe.folder.kept, safe.folder.files = then
    assert contents(safe.open()) == {("a", 1): b"1"}


def test_an_older_state_beside_newer_objects_deletes_none_of_them():
    """Without a counter an older state file opens; what it does not name is told, and stays."""
    safe = Safe(by_passphrase())
    kept = safe.folder.kept
    item = safe.vault.put("a", [b"precious"]).object
    safe.folder.kept = kept
    back = safe.open()
    assert any("1 object files are not in the index" in note for note in back.notes)
    back.put("b", [b"2"])
    assert (item, Stage.WHOLE) in safe.folder.files
    assert back.unknown() == [ObjectId(item)]


def test_a_counter_that_somebody_removed_or_raised_releases_nothing():
    safe = Safe()
    header = safe.vault.header
    safe.chip.increment(header.home.epoch_counter)
    with pytest.raises(VaultRevoked):
        safe.open()
    with pytest.raises(VaultRevoked):  # and no registers are approved for a copy that is over
        Vault.approve_by_code(safe.world, safe.code)
    safe.chip.undefine(header.home.epoch_counter)
    with pytest.raises(VaultForeign, match="no longer has the vault's counter"):
        safe.open()
    assert Vault.recover(safe.world, safe.code, InTpm())


def test_from_outside_a_vault_says_who_keeps_it_and_whether_it_would_open():
    safe = Safe(InTpm(pin="2580"))
    found = standing.standing(safe.folder, safe.chip)
    assert (found.kept_by, found.asks, found.standing) == ("emulated TPM", "PIN", "current")
    assert found.hardware_root == standing.EMULATED
    safe.chip.registers[7] = b"\x07" * 32
    found = standing.standing(safe.folder, safe.chip)
    assert "register 7" in found.standing
    assert "approve" in found.way_out
    assert standing.standing(safe.folder, None).hardware_root == standing.NOT_ASKED
    assert isinstance(by_passphrase(), ByPassphrase)


@HOMES
@pytest.mark.parametrize("keep", [-3, 0, 1001])
def test_a_number_of_versions_that_no_opening_reads_is_refused_and_the_vault_stays_as_it_was(wish, keep):
    safe = Safe(wish)
    safe.vault.put("model", [b"one"])
    with pytest.raises(DataError, match="1 to 1000 versions"):
        safe.vault.put("model", [b"two"], keep=keep)
    assert contents(safe.open()) == {("model", 1): b"one"}


@pytest.mark.parametrize("now", [-1, 2**63])
def test_a_clock_before_1970_stores_nothing_and_takes_nothing(now):
    safe = Safe()
    safe.vault.put("model", [b"one"])
    world = safe.world._replace(now=lambda: now)
    with pytest.raises(DataError, match="clock"):
        Vault.open(world).put("model", [b"two"])
    assert contents(safe.open()) == {("model", 1): b"one"}


def test_whatever_no_opening_would_read_is_not_sealed():
    version = shelf.Version(number=7, object=bytes(16), key=bytes(60), prefix=bytes(7), size=0, at=0)
    entry = shelf.Entry(name="a", keep=1, last=6, versions=(version,))
    with pytest.raises(DataError, match="no opening would read"):
        shelf.seal(bytes(32), bytes(16), {"a": entry}, bytes(32), bytes(32))
    safe = Safe(by_passphrase())
    header = msgspec.structs.replace(safe.vault.header, epoch=2**32)
    with pytest.raises(DataError, match="no opening would read"):
        files.join(bytes(32), header, b"")


def test_an_empty_pin_is_refused_before_anything_is_made_and_none_is_none():
    safe = Safe(InTpm(pin="2580"))
    with pytest.raises(WrongSecret, match="at least one character"):
        safe.vault.revoke("")
    assert safe.open().header.epoch == 1
    counters = dict(safe.chip.counts)
    with pytest.raises(WrongSecret, match="at least one character"):
        Vault.recover(safe.world, safe.code, InTpm(pin=""))
    assert safe.chip.counts == counters
    safe.open().revoke(None)
    assert Vault.open(safe.world).header.epoch == 2


def test_a_home_that_is_refused_leaves_no_counter_in_the_tpm(monkeypatch):
    safe = Safe()
    counters = dict(safe.chip.counts)

    def refused(*_):
        raise TpmLocked("locked out")

    monkeypatch.setattr(safe.chip, "seal", refused)
    with pytest.raises(TpmError):
        Vault.recover(safe.world, safe.code, InTpm())
    assert safe.chip.counts == counters


@pytest.mark.parametrize("cost", [13, 21])
def test_a_cost_that_no_opening_believes_is_refused(cost):
    with pytest.raises(ConfigError, match="14 to 20"):
        Safe(ByPassphrase(passphrase=PASSPHRASE, cost=cost))


def test_a_forged_header_that_would_keep_its_reader_busy_is_refused():
    safe = Safe(by_passphrase())
    header = safe.vault.header
    home = msgspec.structs.replace(header.home, p=3)
    with pytest.raises(DataError):
        files.join(bytes(32), msgspec.structs.replace(header, home=home), b"")


def test_a_machine_without_the_memory_for_the_passphrase_says_so(monkeypatch):
    class Full:
        def __init__(self, **_):
            pass

        def derive(self, _):
            raise MemoryError

    safe = Safe(by_passphrase())
    monkeypatch.setattr(wraps, "Scrypt", Full)
    with pytest.raises(VaultError, match="16 MiB of memory"):
        safe.open()


def test_who_recovers_without_a_tpm_is_told_that_no_counter_was_asked():
    safe = Safe()
    back = Vault.recover(safe.world._replace(chip=None), safe.code, by_passphrase())
    assert any("no TPM was asked" in note for note in back.notes)
