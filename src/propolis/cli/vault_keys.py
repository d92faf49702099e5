"""`propolis vault`, the life of its key: create, pin, approve, revoke, recover. The recovery code is shown once."""

from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from propolis.cli import secrets
from propolis.cli.attest import registers as registers_of
from propolis.cli.show import console, emit, errors
from propolis.cli.vault import SECRET_FILE, asked_for, place, secret, unlocked, vault, where
from propolis.node import vaulting
from propolis.runtime.vault import opening
from propolis.runtime.vault.homes import ByPassphrase, InTpm, Wish
from propolis.runtime.vault.vault import NOTHING_TO_APPROVE
from propolis.runtime.vault.vault import Vault as Core
from propolis.sdk.vault import Vault
from propolis.terms.errors import ConfigError, DataError

CODE_FILE, NEW_FILE = "--code-file", "--new-secret-file"
CODE = "recovery code"
CODE_OPTION = click.option(
    CODE_FILE, metavar="FILE", help="First line of FILE, or of stdin for -, is the recovery code."
)
ADMIN = click.option(
    "--admin-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private key (PEM, P-256) that approves, in place of the recovery code.",
)


def home_options(command: Any) -> Any:
    """Add the options that say how a key is kept."""
    for option in (
        click.option("--pin", "with_pin", is_flag=True, help="Ask a PIN at each opening; the TPM limits guesses."),
        click.option("--pcrs", callback=registers_of, default="7", show_default=True, help="Registers that must stay."),
        click.option(
            "--no-counters", is_flag=True, help="Use no TPM counters: older copies open as well as the newest."
        ),
    ):
        command = option(command)
    return command


def _wish(tpm: str, with_pin: bool, pcrs: tuple[int, ...], no_counters: bool, secret_file: str | None) -> Wish:
    """Return how the key is to be kept, and ask for the secret of it."""
    why = vaulting.lacking(tpm)
    if not why:
        pin = secrets.asked("new PIN", secret_file, SECRET_FILE, twice=True) if with_pin else None
        return InTpm(registers=pcrs, pin=pin, counters=not no_counters)
    if with_pin:
        raise DataError("a PIN needs a TPM, and none is used here", hint="leave --pin out: a passphrase will be asked")
    errors.print(
        "no TPM is used: a passphrase keeps the key. Older copies of the vault cannot be told from the newest."
    )
    return ByPassphrase(passphrase=secrets.asked("new passphrase", secret_file, SECRET_FILE, twice=True))


def _admin(path: Path | None) -> ec.EllipticCurvePrivateKey | None:
    if path is None:
        return None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no private key in PEM without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DataError(f"{path} is no key of the curve P-256")
    return key


class _NewCode:
    """Shows a new recovery code before it counts, and keeps it for JSON."""

    def __init__(self) -> None:
        self.code: str | None = None

    def __call__(self, code: str) -> None:
        self.code = code
        errors.print(f"new recovery code: {code}\n  → write it down; keep the old one until this command ended well")

    def record(self) -> dict[str, str]:
        """Return what JSON says of it."""
        return {"recovery_code": self.code} if self.code else {}


@vault.command()
@where
@secret
@home_options
@ADMIN
def create(
    with_pin: bool, pcrs: tuple[int, ...], no_counters: bool, admin_key: Path | None,
    secret_file: str | None, folder: Path | None, tpm: str, as_json: bool,
) -> None:  # fmt: skip
    """Make a vault. Its recovery code is shown once: write it down, it is kept nowhere."""
    admin = _admin(admin_key)
    opening.vacant(vaulting.world(place(folder), vaulting.NONE).folder)  # before a secret is asked twice
    wish = _wish(tpm, with_pin, pcrs, no_counters, secret_file)
    if isinstance(wish, InTpm):
        wish = InTpm(registers=wish.registers, pin=wish.pin, counters=wish.counters, admin=admin)
    world = vaulting.world(place(folder), tpm)
    with errors.status("making the vault"):
        made, code = Core.create(world, wish)
        seen = world.chip.look((), ()) if isinstance(wish, InTpm) and world.chip else None
    emulated = seen is not None and seen.emulated
    kept_by = "passphrase" if seen is None else "emulated TPM: no hardware root" if emulated else "TPM"
    record = {
        "vault": made.header.vault.hex(),
        "folder": str(place(folder)),
        "kept_by": kept_by,
        "emulated": emulated,
        "recovery_code": code,
    }
    if not as_json:
        console.print(f"the vault is in {place(folder)}, its key is kept by: {kept_by}")
        console.print(f"recovery code: {code}")
    emit(
        as_json,
        record,
        text="  → write it down now: it opens the vault without TPM, PIN or passphrase, and is kept nowhere",
    )


@vault.command()
@where
@secret
@click.option(NEW_FILE, metavar="FILE", help="First line of FILE is the new PIN or passphrase; else it is asked.")
@click.option("--none", "without", is_flag=True, help="No PIN from now on.")
def pin(
    new_secret_file: str | None, without: bool, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool
) -> None:
    """Give the vault another PIN or passphrase. It is a new epoch: older copies are revoked with the old one."""
    what = asked_for(folder) or "PIN"
    if without and what != "PIN":
        raise DataError("a vault without a TPM needs its passphrase", hint="leave --none out")
    opened = unlocked(folder, tpm, secret_file)
    new = None if without else secrets.asked(f"new {what}", new_secret_file, NEW_FILE, twice=True)
    opened.core.revoke(new)
    emit(as_json, _epoch(opened), text=f"the vault has {'no' if without else 'another'} {what} now")


def _epoch(opened: Vault) -> dict[str, Any]:
    header = opened.core.header
    return {"vault": header.vault.hex(), "epoch": header.epoch, "older_copies_open": not header.counter}


@vault.command()
@where
@secret
@click.option("--new-code", is_flag=True, help="Make a new recovery code, too.")
def revoke(new_code: bool, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool) -> None:
    """Begin a new epoch with a new key: the TPM never again opens a copy of the vault as it is now."""
    what = asked_for(folder)
    word = secrets.asked(what, secret_file, SECRET_FILE) if what else None
    opened = Vault(place(folder), word, tpm=tpm)
    told = _NewCode()
    opened.core.revoke(word, new_code=told if new_code else None)
    record = _epoch(opened) | told.record()
    text = f"epoch {record['epoch']}: copies made before do not open in this TPM any more"
    if record["older_copies_open"]:
        text = f"epoch {record['epoch']}: copies made before still open with what opened them: no TPM counts here"
    emit(as_json, record, text=text)


@vault.command()
@where
@secret
@CODE_OPTION
@ADMIN
def approve(
    admin_key: Path | None, code_file: str | None, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool
) -> None:
    """Approve this machine's registers as they are now: after an update of firmware that you made yourself."""
    world = vaulting.world(place(folder), tpm)
    admin, what = _admin(admin_key), asked_for(folder)
    if what == "passphrase":
        raise ConfigError(NOTHING_TO_APPROVE, hint="propolis vault open opens it, however the machine started")
    if admin is None:
        opened = Core.approve_by_code(world, secrets.asked(CODE, code_file, CODE_FILE))
    else:
        opened = Core.approve_by_key(world, admin, secrets.asked(what, secret_file, SECRET_FILE) if what else None)
    home = opened.header.home
    count = len(home.approvals) if hasattr(home, "approvals") else 0
    emit(
        as_json,
        {"vault": opened.header.vault.hex(), "approved_states": count},
        text="the machine as it is now is approved",
    )


@vault.command()
@where
@secret
@home_options
@CODE_OPTION
@click.option("--new-code", is_flag=True, help="Make a new recovery code, too: this one was seen by somebody.")
def recover(
    with_pin: bool, pcrs: tuple[int, ...], no_counters: bool, code_file: str | None, new_code: bool,
    secret_file: str | None, folder: Path | None, tpm: str, as_json: bool,
) -> None:  # fmt: skip
    """Open the vault with its recovery code and seal it to this machine, or to a passphrase."""
    asked_for(folder)  # no secret is asked where there is no vault
    code = secrets.asked(CODE, code_file, CODE_FILE)
    wish = _wish(tpm, with_pin, pcrs, no_counters, secret_file)
    told = _NewCode()
    found = Core.recover(vaulting.world(place(folder), tpm), code, wish, new_code=told if new_code else None)
    for note in found.notes:
        errors.print(f"note: {note}")
    record = {"vault": found.header.vault.hex(), "epoch": found.header.epoch, "notes": list(found.notes)}
    emit(as_json, record | told.record(), text="the vault opens on this machine again")


__all__ = ["vault"]
