"""Where a vault's key gets its home: sealed in a TPM under conditions, or wrapped by a passphrase (vault.md, 5 to 9)."""

import contextlib
from collections.abc import Iterator, Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from propolis.crypto.vault import conditions as demands
from propolis.crypto.vault import wraps
from propolis.crypto.vault.state import PassphraseHome, TpmHome, conditions_of
from propolis.decisions.vault import judge
from propolis.ports.entropy import Entropy
from propolis.ports.vault import ChipHome
from propolis.terms.errors import ConfigError, PropolisError, TpmError, TpmMissing, WrongSecret
from propolis.terms.vault import SealedKey, VaultId

DEFAULT_REGISTERS = (7,)  # Secure Boot: on or off, and by which keys


class InTpm(msgspec.Struct, frozen=True, kw_only=True):
    """Wish: keep the key in this machine's TPM.

    `registers` of the SHA-256 bank that must stay as they are; `pin` is asked at each opening where given; `counters`: tell
    revoked and older copies from the newest by counters in the TPM; `admin` approves new states of the machine, None = a key
    that comes out of the recovery code.
    """

    registers: tuple[int, ...] = DEFAULT_REGISTERS
    pin: str | None = None
    counters: bool = True
    admin: ec.EllipticCurvePrivateKey | None = None

    def __repr__(self) -> str:
        return "InTpm(…)"  # a traceback or a log shows it, and it holds a secret


class ByPassphrase(msgspec.Struct, frozen=True, kw_only=True):
    """Wish: wrap the key under a passphrase. `cost` is log2 of scrypt's N."""

    passphrase: str
    cost: int = wraps.COST

    def __repr__(self) -> str:
        return "ByPassphrase(…)"  # a traceback or a log shows it, and it holds a secret


Wish = InTpm | ByPassphrase


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A home for a key, and where the count of changes begins: counter (0 = none counts) and generation."""

    home: TpmHome | PassphraseHome
    counter: int
    generation: int


def needed(chip: ChipHome | None) -> ChipHome:
    """Return the chip. Raises TpmMissing."""
    if chip is None:
        raise TpmMissing(
            "the vault's key is in a TPM, and none may be used here",
            hint="open it on its machine, or propolis vault recover with the recovery code",
        )
    return chip


def place(
    wish: Wish,
    kek: bytes,
    vault: VaultId,
    epoch: int,
    generation: int,
    *,
    code: bytes,
    chip: ChipHome | None,
    entropy: Entropy,
) -> Placed:
    """Give a key its first home on this machine, with counters of its own. Raises TpmError, WrongSecret, ConfigError."""
    if isinstance(wish, ByPassphrase):
        wrapped = wraps.by_passphrase(kek, wish.passphrase, vault, epoch, entropy.draw(16), cost=wish.cost)
        return Placed(home=wrapped, counter=0, generation=generation)
    checked_pin(wish.pin)
    chip = needed(chip)
    registers = _registers(wish.registers)
    seen = chip.look(registers, ())
    admin = wish.admin or wraps.admin_key(code, vault)
    with _undone(chip) as made:
        epoch_counter, limit = made.counter(seen.storage) if wish.counters else (0, 0)
        counter, count = made.counter(seen.storage) if wish.counters else (0, generation)
        draft = TpmHome(
            storage=seen.storage,
            sealed=SealedKey(b"", b""),
            admin=demands.point(admin),
            series=epoch,  # never again the same, whatever homes come in between: older approvals stay ended
            pin=wish.pin is not None,
            epoch_counter=epoch_counter,
            epoch_limit=limit,
            approvals=(),
        )
        approval = demands.approve(admin, seen.registers, conditions_of(vault, draft).ref)
        home = sealed(msgspec.structs.replace(draft, approvals=(approval,)), kek, vault, wish.pin, chip)
    return Placed(home=home, counter=counter, generation=count)


class _Counters:
    """Counters made for a home that is not there yet."""

    def __init__(self, chip: ChipHome) -> None:
        self.chip = chip
        self.made: list[int] = []

    def counter(self, storage: bytes) -> tuple[int, int]:
        """Make one; return its index and value."""
        index, value = self.chip.define(storage)
        self.made.append(index)
        return index, value


@contextlib.contextmanager
def _undone(chip: ChipHome) -> Iterator[_Counters]:
    """Take the counters out again when the home is refused: a TPM has room for few."""
    counters = _Counters(chip)
    try:
        yield counters
    except PropolisError:
        for index in counters.made:
            with contextlib.suppress(TpmError):
                chip.undefine(index)
        raise


def checked_pin(pin: str | None) -> None:
    """Check a PIN to be set, None = none. Raises WrongSecret: an empty one would be asked for and never be given."""
    if pin is not None and not pin:
        raise WrongSecret("a PIN has at least one character", hint="leave it out for a vault that asks for none")


def sealed(home: TpmHome, kek: bytes, vault: VaultId, pin: str | None, chip: ChipHome) -> TpmHome:
    """Return the home with a key sealed under its conditions. Raises TpmError, what `judge` makes of one, WrongSecret."""
    checked_pin(pin)
    asked = conditions_of(vault, home)
    auth = wraps.pin_auth(pin, vault) if pin is not None else b""
    try:
        made = chip.seal(kek, home.storage, demands.digest(asked), auth)
    except TpmError as error:
        raise judge(error, pin=False) from error
    return msgspec.structs.replace(home, sealed=made)


def _registers(registers: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted(set(registers)))
    if not found or found[0] < 0 or found[-1] > 23:
        raise ConfigError("a vault in a TPM depends on at least one of its registers 0 to 23", hint="the default is 7")
    return found
