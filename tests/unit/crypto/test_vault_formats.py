"""The vault's formats: what comes back, what every changed bit does, what is read strictly (docs/specs/vault.md, 1 to 12)."""

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.crypto.vault import code, index, state, wraps
from propolis.crypto.vault.index import Entry, Version
from propolis.terms.errors import DataError, UnknownObject, VaultDamaged, WrongSecret
from propolis.terms.vault import Approval, ObjectId, SealedKey, VaultId

VAULT, KEK, CODE = VaultId(b"v" * 16), b"K" * 32, b"c" * 20
HEADER = state.Header(
    format=1,
    vault=VAULT,
    epoch=3,
    generation=9,
    counter=0,
    home=wraps.by_passphrase(KEK, "correct horse", VAULT, 3, b"s" * 16, cost=14),
    recovery=wraps.by_recovery(KEK, wraps.recovery_public(CODE, VAULT), VAULT, 3),
)


def version(number=1, item=b"o" * 16):
    bound = index.about(VAULT, "name", number, ObjectId(item))
    key = index.wrap(KEK, VAULT, bound, b"d" * 32, b"n" * 12)
    return Version(number=number, object=item, key=key, prefix=b"p" * 7, size=5, at=1)


HELD = {"name": Entry(name="name", keep=2, last=1, versions=(version(),))}


def whole(header=HEADER, held=HELD, kek=KEK):
    """A state file as whoever holds the key can write it: unlike `join` and `seal`, nothing is read back first."""
    raw, salt = state.encode(header), b"x" * 32
    plain = msgspec.msgpack.encode(tuple(held[name] for name in sorted(held)))
    sealed = AESGCM(state.derive(kek, VAULT, b"index", salt)).encrypt(bytes(12), plain, state.digest(raw))
    return state.MAGIC + len(raw).to_bytes(4, "big") + raw + state.mac(kek, VAULT, raw) + salt + sealed


def opened(data, kek=KEK):
    """As an opening does once it has the key."""
    found = state.split(data)
    state.authentic(kek, found)
    return found.header, index.open_index(kek, VaultId(found.header.vault), found.index, state.digest(found.raw))


@given(st.binary(min_size=20, max_size=20))
def test_a_code_reads_back_however_it_is_typed(secret):
    text = code.written(secret)
    assert code.read(text) == secret
    assert code.read(text.lower().replace("-", " ")) == secret
    assert code.read(text.replace("0", "o").replace("1", "l")) == secret
    assert len(text.split("-")) == 9


@settings(derandomize=True)
@given(st.binary(min_size=20, max_size=20), st.integers(0, 35), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_character_is_noticed(secret, at, digit):
    """By 20 bits: a changed body meets its checksum once in a million, so the examples are always the same."""
    bare = code.written(secret).replace("-", "")
    changed = bare[:at] + digit + bare[at + 1 :]
    if changed == bare:
        assert code.read(changed) == secret
        return
    with pytest.raises(WrongSecret, match="mistyped"):
        code.read(changed)


@given(st.text(max_size=60) | st.just("A" * 5000))
def test_what_is_no_code_is_refused(text):
    with pytest.raises(WrongSecret):
        code.read(text)


def test_a_state_comes_back():
    bound = state.digest(state.encode(HEADER))
    assert state.join(KEK, HEADER, index.seal(KEK, VAULT, HELD, bound, b"x" * 32)) == whole()
    assert opened(whole()) == (HEADER, HELD)


def test_nothing_is_written_that_no_opening_would_read():
    home = msgspec.structs.replace(HEADER.home, cost=13)
    with pytest.raises(DataError, match="nothing was written"):
        state.join(KEK, msgspec.structs.replace(HEADER, home=home), b"index")
    with pytest.raises(DataError, match="nothing was written"):
        index.seal(KEK, VAULT, {"a": Entry(name="a", keep=1, last=1, versions=())}, b"b" * 32, b"x" * 32)


def test_every_changed_bit_of_a_state_is_refused():
    data = whole()
    for place in range(len(data) * 8):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(VaultDamaged):
            opened(bytes(changed))


def test_every_cut_and_every_tail_is_refused():
    data = whole()
    for size in range(len(data)):
        with pytest.raises(VaultDamaged):
            opened(data[:size])
    with pytest.raises(VaultDamaged):
        opened(data + b"\0")


def test_an_index_of_another_header_is_refused():
    """Header of now, index of then: both genuine, never together."""
    later = msgspec.structs.replace(HEADER, generation=10)
    data, other = whole(), state.split(whole(later))
    mixed = data[: len(data) - len(state.split(data).index)] + other.index
    with pytest.raises(VaultDamaged, match="not of its header"):
        opened(mixed)


def test_another_key_opens_nothing():
    with pytest.raises(VaultDamaged):
        opened(whole(), b"L" * 32)


@pytest.mark.parametrize(("field", "value"), [("cost", 13), ("cost", 21), ("r", 9), ("p", 0), ("p", 17)])
def test_scrypt_is_bounded_both_ways(field, value):
    home = msgspec.structs.replace(HEADER.home, **{field: value})
    with pytest.raises(VaultDamaged, match="header that is none"):
        state.split(whole(msgspec.structs.replace(HEADER, home=home)))


@pytest.mark.parametrize(
    "held",
    [
        {"a": Entry(name="n", keep=1, last=1, versions=(version(),)), "b": Entry(name="n", keep=1, last=1, versions=(version(1, b"q" * 16),))},
        {"a": Entry(name="a", keep=1, last=1, versions=(version(),)), "b": Entry(name="b", keep=1, last=1, versions=(version(),))},
        {"a": Entry(name="a", keep=2, last=2, versions=(version(2), version(1, b"q" * 16)))},
        {"a": Entry(name="a", keep=2, last=1, versions=(version(2),))},
        {"a": Entry(name="a", keep=0, last=1, versions=(version(),))},
        {"": Entry(name="", keep=1, last=1, versions=(version(),))},
        {"a": Entry(name="a", keep=1, last=1, versions=())},
        {"a": Entry(name="a", keep=1, last=1, versions=(msgspec.structs.replace(version(), key=b"k"),))},
    ],
)  # fmt: skip
def test_an_index_that_contradicts_itself_is_refused(held):
    with pytest.raises(VaultDamaged):
        opened(whole(held=held))


def test_a_passphrase_opens_its_own_wrap_alone():
    assert wraps.with_passphrase(HEADER.home, "correct horse", VAULT, 3) == KEK
    for home, secret, vault, epoch in [
        (HEADER.home, "correct hors", VAULT, 3),
        (HEADER.home, "correct horse", VaultId(b"w" * 16), 3),
        (HEADER.home, "correct horse", VAULT, 4),
        (msgspec.structs.replace(HEADER.home, cost=15), "correct horse", VAULT, 3),
    ]:
        with pytest.raises(WrongSecret):
            wraps.with_passphrase(home, secret, vault, epoch)
    with pytest.raises(WrongSecret, match="at least 8"):
        wraps.by_passphrase(KEK, "short", VAULT, 1, b"s" * 16)


def test_the_default_is_strong():
    assert (wraps.COST, wraps.R, wraps.P) == (17, 8, 1)


def test_a_recovery_code_opens_its_own_wrap_alone():
    assert wraps.with_recovery(HEADER.recovery, CODE, VAULT, 3) == KEK
    with pytest.raises(WrongSecret):
        wraps.with_recovery(HEADER.recovery, b"d" * 20, VAULT, 3)
    with pytest.raises(WrongSecret):
        wraps.with_recovery(HEADER.recovery, CODE, VaultId(b"w" * 16), 3)
    with pytest.raises(VaultDamaged):
        wraps.with_recovery(HEADER.recovery, CODE, VAULT, 4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=12))
@settings(deadline=None)
def test_the_newest_versions_of_a_name_stay_and_numbers_never_repeat(puts):
    held, numbers, there = {}, {}, set()
    for place, (name, keep) in enumerate(puts):
        number = numbers.get(name, 0) + 1
        item = place.to_bytes(16, "big")
        held, gone = index.added(held, name, version(number, item), keep)
        numbers[name] = number
        there = (there | {item}) - set(gone)
        kept = [found.number for found in held[name].versions]
        assert kept == list(range(number + 1))[-len(kept) :]
        assert len(kept) <= keep
        assert index.objects(held) == there
    bound = state.digest(state.encode(HEADER))
    assert index.open_index(KEK, VAULT, index.seal(KEK, VAULT, held, bound, b"x" * 32), bound) == held


def test_removing_takes_a_version_or_all_of_a_name():
    held = {"a": Entry(name="a", keep=3, last=2, versions=(version(1), version(2, b"q" * 16)))}
    one, gone = index.removed(held, "a", 1)
    assert ([v.number for v in one["a"].versions], gone) == ([2], [b"o" * 16])
    assert index.removed(one, "a", 2) == ({}, [b"q" * 16])
    assert index.removed(held, "a", None)[0] == {}
    for name, number in [("b", None), ("a", 3)]:
        with pytest.raises(UnknownObject):
            index.removed(held, name, number)


@pytest.mark.parametrize("name", ["", "a" * 256, "ä" * 128, "a\nb", "a\x1b[0m", "\u202eabc", "a\0"])
def test_names_that_do_not_show_are_refused(name):
    with pytest.raises(DataError):
        index.checked_name(name)


def test_a_new_key_carries_every_data_key_over():
    moved = index.rewrapped(KEK, b"L" * 32, VAULT, HELD, [b"m" * 12])
    bound = index.about(VAULT, "name", 1, ObjectId(b"o" * 16))
    assert index.unwrap(b"L" * 32, VAULT, bound, moved["name"].versions[0].key) == b"d" * 32
    with pytest.raises(VaultDamaged):
        index.unwrap(KEK, VAULT, bound, moved["name"].versions[0].key)
    with pytest.raises(VaultDamaged):
        index.unwrap(
            b"L" * 32, VAULT, index.about(VAULT, "other", 1, ObjectId(b"o" * 16)), moved["name"].versions[0].key
        )


@pytest.mark.parametrize("registers", [(7, 4), (7, 7)])
def test_an_approval_with_registers_twice_or_out_of_order_is_refused(registers):
    """The TPM reads them in order: another order would be signed for something else."""
    approval = Approval(values=tuple((number, b"r" * 32) for number in registers), signature=b"s" * 64)
    home = state.TpmHome(
        storage=b"k", sealed=SealedKey(b"a" * 32, b"b" * 32), admin=b"p" * 65, series=1, pin=False, epoch_counter=0,
        epoch_limit=0, approvals=(approval,),
    )  # fmt: skip
    with pytest.raises(VaultDamaged, match="registers out of order"):
        state.split(whole(msgspec.structs.replace(HEADER, home=home)))
