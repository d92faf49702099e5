"""`propolis.Vault`: an encrypted store of one person or node, in few lines. node/vaulting.py picks folder and TPM.

vault, code = Vault.create("safe", pin="2580")     # write the code down: it is kept nowhere
vault.put("scans", Path("scans.npz"))
data = Vault("safe", "2580").read("scans")
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from propolis.node.vaulting import AUTO, world
from propolis.runtime.vault import vault as core
from propolis.runtime.vault.homes import DEFAULT_REGISTERS, ByPassphrase, InTpm, Wish
from propolis.terms.errors import DataError
from propolis.terms.vault import Stored

READ_BYTES = 1 << 20
Data = bytes | Path | Iterable[bytes]


def wish_of(
    pin: str | None,
    passphrase: str | None,
    registers: Sequence[int],
    counters: bool,
    admin: ec.EllipticCurvePrivateKey | None,
) -> Wish:
    """Return how a key is to be kept: by a passphrase where there is one, in the TPM otherwise."""
    if passphrase is not None:
        return ByPassphrase(passphrase=passphrase)
    return InTpm(registers=tuple(registers), pin=pin, counters=counters, admin=admin)


class Vault:
    """An open vault. `stored()` lists, `put`, `read`, `stream`, `save` and `remove` do what they say."""

    def __init__(self, folder: Path | str, secret: str | None = None, *, tpm: str | Path = AUTO) -> None:
        """Open with the PIN or passphrase, where it has one. Raises VaultError, TpmError, ConfigError, StoreError."""
        self._core = core.Vault.open(world(folder, tpm), secret)

    @classmethod
    def create(
        cls,
        folder: Path | str,
        *,
        pin: str | None = None,
        passphrase: str | None = None,
        tpm: str | Path = AUTO,
        registers: Sequence[int] = DEFAULT_REGISTERS,
        counters: bool = True,
        admin: ec.EllipticCurvePrivateKey | None = None,
    ) -> tuple["Vault", str]:
        """Make a vault; return it and its recovery code, which nobody can show again.

        With a `passphrase` no TPM is used; without one the key is sealed in the TPM: to `registers`, to a `pin` where given.
        Raises ConfigError where there is a vault, TpmMissing where there is no TPM.
        """
        made, code = core.Vault.create(world(folder, tpm), wish_of(pin, passphrase, registers, counters, admin))
        return cls.of(made), code

    @classmethod
    def recover(
        cls,
        folder: Path | str,
        code: str,
        *,
        pin: str | None = None,
        passphrase: str | None = None,
        tpm: str | Path = AUTO,
        registers: Sequence[int] = DEFAULT_REGISTERS,
        counters: bool = True,
        new_code: Callable[[str], object] | None = None,
    ) -> "Vault":
        """Open with the recovery code and seal the key to this machine, or to a passphrase. `new_code` is told a new code."""
        wish = wish_of(pin, passphrase, registers, counters, None)
        return cls.of(core.Vault.recover(world(folder, tpm), code, wish, new_code=new_code))

    @classmethod
    def of(cls, opened: core.Vault) -> "Vault":
        """Return an open vault as this."""
        made = cls.__new__(cls)
        made._core = opened
        return made

    @property
    def core(self) -> core.Vault:
        """What is behind it: revocation, checks, header."""
        return self._core

    @property
    def notes(self) -> tuple[str, ...]:
        """What the opening found that a person should know."""
        return self._core.notes

    def put(self, name: str, data: Data, *, keep: int | None = None) -> Stored:
        """Store bytes, a file or parts as the next version of a name; `keep` newest versions stay (at first 1).

        One chunk is in memory at a time. Raises DataError, StoreFull, StoreError, TpmError, VaultError.
        """
        return self._core.put(name, parts_of(data), keep=keep)

    def stream(self, name: str, version: int | None = None) -> Iterator[bytes]:
        """Yield a version's bytes in authentic chunks. Raises UnknownObject, VaultDamaged (also later on), StoreError."""
        return self._core.get(name, version)[1]

    def read(self, name: str, version: int | None = None) -> bytes:
        """Return a version's bytes. Raises UnknownObject, VaultDamaged, StoreError."""
        return b"".join(self.stream(name, version))

    def save(self, name: str, path: Path, version: int | None = None) -> Stored:
        """Write a version into a file, whole or not at all, for this user alone. Raises as `stream`, DataError."""
        found, parts = self._core.get(name, version)
        write_whole(path, parts)
        return found

    def stored(self) -> list[Stored]:
        """Return every version of every name."""
        return self._core.stored()

    def remove(self, name: str, version: int | None = None) -> int:
        """Forget a version, or all of a name; return how many. Raises UnknownObject."""
        return self._core.remove(name, version)


def parts_of(data: Data) -> Iterator[bytes]:
    """Yield data in parts. Raises DataError when a file cannot be read."""
    if isinstance(data, bytes | bytearray | memoryview):
        view = memoryview(data)
        yield from (bytes(view[at : at + READ_BYTES]) for at in range(0, len(view), READ_BYTES))
    elif isinstance(data, Path):
        try:
            with data.open("rb") as file:
                while part := file.read(READ_BYTES):
                    yield part
        except OSError as error:
            raise DataError(f"{data} cannot be read: {error.strerror}") from error
    else:
        yield from data


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file for this user alone: it is there whole or not at all. Raises DataError when it cannot be written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            for part in parts:
                file.write(part)
        os.replace(beside, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
