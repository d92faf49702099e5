"""`propolis vault`: an encrypted store whose key lies in the TPM or under a passphrase. Keys of its life: cli/vault_keys.py."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from propolis.cli import secrets
from propolis.cli.bar import counted
from propolis.cli.fleet import JSON
from propolis.cli.show import emit, errors, table
from propolis.crypto.vault import state as files
from propolis.node import vaulting
from propolis.runtime.ending import Exit
from propolis.runtime.vault import opening, standing
from propolis.sdk import vault as sdk
from propolis.sdk.vault import Vault
from propolis.terms.errors import DataError
from propolis.terms.vault import Stored

F = TypeVar("F", bound=Callable[..., Any])
STDIO = "-"
SECRET_FILE = "--secret-file"  # noqa: S105  the option's name
TPM_HELP = "auto, none, device, or the socket of an emulated TPM (which protects nothing: no hardware root)."


@click.group()
def vault() -> None:
    """Keep data encrypted, its key in this machine's TPM or under a passphrase."""


def where(command: F) -> F:
    """Add the options that say which vault, which TPM, and how it is shown."""
    tpm = click.option("--tpm", default=vaulting.AUTO, show_default=True, metavar="WHICH", help=TPM_HELP)
    folder = click.option(
        "--vault", "folder", type=click.Path(path_type=Path), help="The vault's folder (default: vault in the home)."
    )
    return folder(tpm(JSON(command)))


def secret(command: F) -> F:
    """Add the option that says where PIN or passphrase come from."""
    return click.option(
        SECRET_FILE,
        metavar="FILE",
        help="First line of FILE, or of stdin for -, is the PIN or passphrase; else it is asked.",
    )(command)


def place(folder: Path | None) -> Path:
    """Return the vault's folder: the one named, or the home's own."""
    return folder or click.get_current_context().find_root().obj / "vault"


def asked_for(folder: Path | None) -> str:
    """Return what a vault asks to be opened: PIN, passphrase or nothing. Raises ConfigError, VaultDamaged."""
    state = opening.load(vaulting.world(place(folder), vaulting.NONE).folder)
    return standing.asks(files.split(state).header)


def unlocked(folder: Path | None, tpm: str, secret_file: str | None) -> Vault:
    """Open the vault, with the secret that it asks for; say what a person should know."""
    what = asked_for(folder)
    word = secrets.asked(what, secret_file, SECRET_FILE) if what else None
    with errors.status("opening the vault"):
        found = Vault(place(folder), word, tpm=tpm)
    for note in found.notes:
        errors.print(f"note: {note}")
    return found


def row(item: Stored) -> dict[str, Any]:
    """Return a stored version for JSON."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.at))
    return {"name": item.name, "version": item.version, "bytes": item.size, "at": at, "object": item.object.hex()}


@vault.command()
@where
@secret
@click.argument("name")
@click.argument("file")
@click.option("--keep", type=click.IntRange(1, 1000), help="Keep that many newest versions of it (at first 1).")
def put(
    name: str, file: str, keep: int | None, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool
) -> None:
    """Store FILE (- for stdin) as the next version of NAME."""
    if file == STDIO and secret_file == STDIO:
        raise DataError("stdin cannot be both the secret and the data", hint=f"name a file: {SECRET_FILE} FILE")
    size = None if file == STDIO else _size(Path(file))
    opened = unlocked(folder, tpm, secret_file)
    with counted(name, size) as bar:
        source = _stdin() if file == STDIO else sdk.parts_of(Path(file))
        made = opened.put(name, bar.over(source), keep=keep)
    emit(as_json, row(made), text=f"{name} version {made.version}: {made.size} bytes")


def _size(path: Path) -> int:
    if not path.is_file():
        raise DataError(f"{path} is no file")
    return path.stat().st_size


def _stdin() -> Iterator[bytes]:
    while part := sys.stdin.buffer.read(sdk.READ_BYTES):
        yield part


@vault.command()
@where
@secret
@click.argument("name")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to (- for stdout); whole or not at all.")
@click.option("--version", "number", type=click.IntRange(1), help="Which version (default: the newest).")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def get(
    name: str, output: str, number: int | None, force: bool, secret_file: str | None,
    folder: Path | None, tpm: str, as_json: bool,
) -> None:  # fmt: skip
    """Write a version of NAME into a file, decrypted."""
    if output == STDIO and as_json:
        raise DataError("stdout cannot be both the data and JSON", hint="name a file: -o FILE")
    if output != STDIO and Path(output).exists() and not force:
        raise DataError(f"{output} is there already", hint="--force replaces it")
    opened = unlocked(folder, tpm, secret_file)
    found, parts = opened.core.get(name, number)
    with counted(name, found.size) as bar:
        if output == STDIO:
            for part in bar.over(parts):
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
            return
        sdk.write_whole(Path(output), bar.over(parts))
    emit(as_json, {**row(found), "output": output}, text=f"{name} version {found.version} is in {output}, unencrypted")


@vault.command("list")
@where
@secret
def listed(secret_file: str | None, folder: Path | None, tpm: str, as_json: bool) -> None:
    """Show what the vault holds."""
    rows = [row(item) for item in unlocked(folder, tpm, secret_file).stored()]
    if not rows:
        emit(as_json, rows, text="the vault holds nothing yet\n  → propolis vault put NAME FILE")
        return
    cells = [(r["name"], r["version"], r["bytes"], r["at"]) for r in rows]
    emit(as_json, rows, table("", ("name", "version", "bytes", "put"), cells))


@vault.command()
@where
@secret
@click.argument("name")
@click.option("--version", "number", type=click.IntRange(1), help="This version alone (default: all of them).")
def remove(
    name: str, number: int | None, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool
) -> None:
    """Forget NAME: its data keys are gone with it."""
    count = unlocked(folder, tpm, secret_file).remove(name, number)
    emit(as_json, {"name": name, "removed": count}, text=f"{count} versions of {name} are removed")


@vault.command("open")
@where
@secret
@click.option("--all", "deep", is_flag=True, help="Read and open every stored file, not only its size.")
def check(deep: bool, secret_file: str | None, folder: Path | None, tpm: str, as_json: bool) -> int:
    """Open the vault and check it: key, header, index, counters, and that every file is there."""
    opened = unlocked(folder, tpm, secret_file)
    held = opened.stored()
    with counted("reading", sum(item.size for item in held)) as bar:
        wrong = opened.core.verify(deep=deep, seen=bar.add)
    record = {
        "opened": True,
        "versions": len(held),
        "read": deep,
        "wrong": wrong,
        "unknown_files": [item.hex() for item in opened.core.unknown()],
        "notes": list(opened.notes),
        **_outside(folder, tpm),
    }
    lines = [f"the vault opens and holds {len(held)} versions, {len(wrong)} of them damaged", *wrong]
    emit(as_json, record, text="\n".join([*lines, f"hardware root: {record['hardware_root']}"]))
    return Exit.CONFIG if wrong else Exit.OK


def _outside(folder: Path | None, tpm: str) -> dict[str, Any]:
    world = vaulting.world(place(folder), tpm)
    found = standing.standing(world.folder, world.chip)
    return {name: getattr(found, name) for name in found.__struct_fields__}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@vault.command()
@where
def status(folder: Path | None, tpm: str, as_json: bool) -> int:
    """Say what can be said without its secret: who keeps the key, and whether this machine would open it."""
    found = _outside(folder, tpm)
    cells = [(name.replace("_", " "), _shown(value)) for name, value in found.items() if value not in ("", ())]
    emit(as_json, found, table("", ("", ""), cells))
    return Exit.OK if found["standing"] == "current" else Exit.REFUSED
