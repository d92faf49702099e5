"""What every vault folder and every home of a vault's key must do.

`make` returns a fresh empty folder, or (a chip, a way to extend its register 7).
"""

from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric import ec

from propolis.crypto.vault import conditions as demands
from propolis.ports.vault import ChipHome, Folder, Stage
from propolis.terms.errors import ConfigError, StoreError, TpmError
from propolis.terms.vault import Approval, Conditions, ObjectId, SealedKey

MakeFolder = Callable[[], Folder]
MakeChip = Callable[[], tuple[ChipHome, Callable[[], None]]]
ONE, TWO = ObjectId(b"1" * 16), ObjectId(b"2" * 16)
KEY = b"k" * 32


def the_state_is_none_and_then_what_was_written_last(make: MakeFolder) -> None:
    """Replaced whole."""
    folder = make()
    assert folder.state() is None
    folder.replace(b"first and longer")
    folder.replace(b"second")
    assert folder.state() == b"second"


def an_object_is_read_in_whatever_stage_it_is(make: MakeFolder) -> None:
    """A reader beside a writer finds it."""
    folder = make()
    folder.write(ONE, [b"ab", b"", b"cd"])
    stages = (Stage.PART, Stage.WHOLE, Stage.GONE)
    for before, after in zip(stages, (*stages[1:], Stage.WHOLE), strict=True):
        assert folder.listing() == {(ONE, before)}
        source = folder.read(ONE)
        assert source is not None
        assert (source.size, source.read(3), source.read(3), source.read(3)) == (4, b"abc", b"d", b"")
        source.close()
        source.close()
        folder.move([ONE, TWO], before, after)
    folder.drop(ONE, Stage.WHOLE)
    folder.drop(ONE, Stage.WHOLE)
    assert folder.read(ONE) is None
    assert folder.listing() == set()


def what_fails_in_the_middle_leaves_nothing(make: MakeFolder) -> None:
    """The parts end with an error of their own."""
    folder = make()

    def parts() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("the source is gone")

    try:
        folder.write(ONE, parts())
    except ValueError:
        assert folder.listing() == set()
        return
    raise AssertionError("the source's error was swallowed")


def one_writes_at_a_time(make: MakeFolder) -> None:
    """A second writer is told, and the lock is free again afterwards."""
    folder = make()
    with folder.locked():
        try:
            with folder.locked():
                raise AssertionError("two writers")
        except ConfigError:
            pass
    with folder.locked():
        pass


def a_name_that_is_none_reaches_no_file(make: MakeFolder) -> None:
    """Ids are 16 bytes."""
    try:
        make().write(ObjectId(b"../x"), [b""])
    except StoreError:
        return
    raise AssertionError("a name that is none was written")


FOLDER_SUITE = (
    the_state_is_none_and_then_what_was_written_last,
    an_object_is_read_in_whatever_stage_it_is,
    what_fails_in_the_middle_leaves_nothing,
    one_writes_at_a_time,
    a_name_that_is_none_reaches_no_file,
)


# -- chips


class _Sealed:
    """A key sealed with all conditions, and how to ask for it with some of them off."""

    def __init__(self, chip: ChipHome, *, pin: bytes = b"") -> None:
        self.chip, self.pin = chip, pin
        self.admin = ec.generate_private_key(ec.SECP256R1())
        self.storage = chip.look((), ()).storage
        self.counter, limit = chip.define(self.storage)
        self.asked = Conditions(demands.point(self.admin), b"test", self.counter, limit, bool(pin))
        self.sealed: SealedKey = chip.seal(KEY, self.storage, demands.digest(self.asked), pin)

    def approval(self, by: ec.EllipticCurvePrivateKey | None = None) -> Approval:
        return demands.approve(by or self.admin, self.chip.look((7,), ()).registers, self.asked.ref)

    def opened(self, approval: Approval | None = None, pin: bytes | None = None) -> bytes:
        auth = self.pin if pin is None else pin
        return self.chip.unseal(self.sealed, self.storage, self.asked, approval or self.approval(), auth)

    def refuses(self, *codes: int, approval: Approval | None = None, pin: bytes | None = None) -> None:
        try:
            self.opened(approval, pin)
        except TpmError as error:
            assert error.response in codes, hex(error.response)  # noqa: PT017  suites run without pytest
            return
        raise AssertionError("the chip gave the key out")


def a_key_comes_out_under_its_conditions_alone(make: MakeChip) -> None:
    """Registers as approved, an approval of the admin key, the epoch: each by itself keeps it in."""
    chip, extend = make()
    item = _Sealed(chip)
    before = item.approval()
    assert item.opened() == KEY
    item.refuses(0x2DB, approval=item.approval(ec.generate_private_key(ec.SECP256R1())))
    extend()
    item.refuses(0x99D, approval=before)
    assert item.opened() == KEY
    chip.increment(item.counter)
    item.refuses(0x126)


def a_wrong_pin_is_counted_until_it_locks(make: MakeChip) -> None:
    """Guesses end."""
    chip, _ = make()
    item = _Sealed(chip, pin=b"1234")
    assert item.opened() == KEY
    item.refuses(0x98E, pin=b"4321")
    for _ in range(40):
        try:
            item.refuses(0x98E, pin=b"4321")
        except AssertionError:
            break
    item.refuses(0x921)


def counters_go_up_and_begin_above_all_that_were(make: MakeChip) -> None:
    """A counter that was removed and made again is no younger."""
    chip, _ = make()
    storage = chip.look((), ()).storage
    index, value = chip.define(storage)
    assert chip.increment(index) == value + 1
    assert chip.look((), (index, index + 1)).counts == {index: value + 1}
    chip.undefine(index)
    chip.undefine(index)
    assert chip.look((), (index,)).counts == {}
    assert chip.define(storage)[1] > value + 1


def a_storage_key_that_is_not_the_pinned_one_is_given_nothing(make: MakeChip) -> None:
    """Somebody else's key in between, or another machine."""
    (chip, _), (other, _) = make(), make()
    item = _Sealed(chip)
    item.storage = other.look((), ()).storage
    item.refuses(0x1DF)


CHIP_SUITE = (
    a_key_comes_out_under_its_conditions_alone,
    a_wrong_pin_is_counted_until_it_locks,
    counters_go_up_and_begin_above_all_that_were,
    a_storage_key_that_is_not_the_pinned_one_is_given_nothing,
)
