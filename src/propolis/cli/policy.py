"""`propolis fleet policy`: see, check and sign what machines are judged by. Only the operator's word changes it.

What a command edits is written anew by decisions/appraisal/policy_text: order and meaning stay, comments go.
"""

import re
import sys
from pathlib import Path

import click
import msgspec
from rich.text import Text

from propolis.cli import policy_words
from propolis.cli.fleet import JSON, REHEARSE, connected
from propolis.cli.show import console, emit, errors
from propolis.decisions.appraisal import authenticode, policy_text
from propolis.decisions.appraisal.policy import MAX_TEXT, Image, read
from propolis.sdk import Fleet, members, policies
from propolis.sdk.policies import Mandate
from propolis.terms.errors import DataError
from propolis.terms.text import clean

_DIGEST = re.compile("[0-9a-fA-F]{64}")
FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


@click.group()
def fleet() -> None:
    """What the whole fleet goes by."""


@fleet.group()
def policy() -> None:
    """By what policy machines are judged: which TPMs and images count, and what for."""


@policy.command()
@JSON
@click.pass_obj
def show(home: Path, as_json: bool) -> None:
    """Print the policy in force as TOML, and by whose word it is."""
    with connected(home) as found:
        mandate = found.mandate()
    emit(as_json, _record(mandate))
    if not as_json:
        console.print(policy_words.whose(mandate))
        text = mandate.text or policy_text.write(mandate.policy, whole=True)
        console.print(Text(clean(text.rstrip("\n"))))  # as it stands: a line that is folded is no TOML


@policy.command()
@click.argument("file", type=FILE)
@JSON
def check(file: Path, as_json: bool) -> None:
    """Say what the policy in FILE (- reads stdin) would accept, in words. Nothing is signed."""
    found = read(_bytes(file))
    words = policy_words.told(found)
    emit(as_json, {"valid": True, "accepts": words, "policy": msgspec.to_builtins(found)}, text="\n".join(words))


@policy.command("set")
@click.argument("file", type=FILE)
@click.option(
    REHEARSE, "rehearse", is_flag=True, help="As an owner, accept what emulated TPMs prove under this policy: nothing."
)
@JSON
@click.pass_obj
def set_(home: Path, file: Path, rehearse: bool, as_json: bool) -> None:
    """Sign the policy in FILE (- reads stdin) as the operator; every machine is judged anew by it."""
    text = _bytes(file)
    wanted = read(text)  # before anything is reached: a mistake is named at once
    with connected(home) as found:
        found.set_policy(text)
        mandate = found.mandate()
    policies.rehearse(home, accept=rehearse)
    _signed(home, mandate, as_json, {"accepts": policy_words.told(wanted)})


@policy.command()
@click.option(REHEARSE, "accept", is_flag=True, help="Accept what emulated TPMs prove: nothing.")
@click.option("--stop", is_flag=True, help="Give no key to an emulated machine any more.")
@JSON
@click.pass_obj
def rehearse(home: Path, accept: bool, stop: bool, as_json: bool) -> None:
    """Say whether this owner takes part in a rehearsal with emulated TPMs, or ask."""
    if accept and stop:
        raise click.UsageError(f"either {REHEARSE} or --stop")
    if accept or stop:
        policies.rehearse(home, accept=accept)
    now = Fleet.rehearses(home)
    words = "gives keys to emulated machines where the operator's policy rehearses" if now else "gives them none"
    emit(as_json, {"rehearsal": now}, text=f"this owner {words}; guests that have a key keep it")


@policy.command()
@click.argument("node")
@click.option(
    "--maker",
    default="",
    metavar="NAME",
    help="Who made its TPM, as attest --identity prints it: AMD, INTC, IFX. Asked without it.",
)
@click.option("--note", default="", help="Why you vouch for it; the node's name by default.")
@click.option("--yes", is_flag=True, help="Do not ask: the key was compared.")
@JSON
@click.pass_obj
def approve(home: Path, node: str, maker: str, note: str, yes: bool, as_json: bool) -> None:
    """Vouch for the endorsement key of NODE (its name or the beginning of its key), whose TPM has no maker's certificate."""
    with connected(home) as found:
        row = members.row_of(node, found.nodes())
        policies.endorsement_key(row)  # a node that showed none: nobody is asked who made its TPM
        if not maker and not yes and sys.stdin.isatty():
            maker = click.prompt("Who made its TPM, as propolis attest --identity prints it on that machine", err=True)
        wanted, ek = policies.approved(found.policy(), row, maker.strip().upper(), note)
        errors.print(
            f"endorsement key of {row.report.name} ({row.node.hex()[:8]}):\n  {ek}\n"
            "Compare it with what propolis attest --identity prints on that machine: nobody else knows whose TPM it is."
        )
        if not yes:
            click.confirm("Is it the same?", abort=True, err=True)
        found.set_policy(wanted)
        mandate = found.mandate()
    _signed(home, mandate, as_json, {"node": row.node.hex(), "endorsement_key": ek})


@policy.group()
def image() -> None:
    """Images that the policy knows, by what firmware measures when it loads them."""


@image.command()
@click.argument("image", metavar="FILE|DIGEST")
@click.option("--name", required=True, help="What people call it, like 'debian 6.12 kernel'.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    type=click.Choice(["lockdown", "keeps-no-memory"]),
    help="What booting it stands for. lockdown: a locked image, no shell, nothing runs that is not in it (attestation.md, 12).",
)
@click.option("--loader", is_flag=True, help="It measures what it loads and hands over, like shim or GRUB.")
@JSON
@click.pass_obj
def add(home: Path, image: str, name: str, claims: tuple[str, ...], loader: bool, as_json: bool) -> None:
    """Add a boot loader or kernel: an EFI image, whose Authenticode SHA-256 is computed, or that digest in hex.

    A machine booted a known image when all it loaded is known; a claim counts where all of it but loaders states it.
    """
    digest = (
        image.lower() if _DIGEST.fullmatch(image) else authenticode.digest(_bytes(Path(image), authenticode.MAX_IMAGE))
    )
    known = _image(digest, name, claims, loader=loader)
    with connected(home) as found:
        found.set_policy(policy_text.add_image(found.policy(), known))
        mandate = found.mandate()
    _signed(home, mandate, as_json, {"digest": digest, "name": name})


def _image(digest: str, name: str, claims: tuple[str, ...], *, loader: bool) -> Image:
    try:
        record = {"digest": digest, "name": name, "claims": tuple(dict.fromkeys(claims)), "loader": loader}
        return msgspec.convert(record, type=Image)
    except msgspec.ValidationError as error:
        raise DataError(f"this image: {error}") from error


def _signed(home: Path, mandate: Mandate, as_json: bool, more: dict[str, object]) -> None:
    """Say what was signed, and whether this home's owner would give keys by it."""
    words = [f"signed as number {mandate.number}; every machine is judged anew by it", *map(str, _list(more))]
    if mandate.policy.rehearsal is not None and not Fleet.rehearses(home):
        words.append(f"it rehearses, and this home does not: propolis fleet policy rehearse {REHEARSE}")
    emit(as_json, {**_record(mandate), **more}, text="\n".join(words))


def _list(more: dict[str, object]) -> list[object]:
    accepts = more.get("accepts")
    return (
        list(accepts)
        if isinstance(accepts, list)
        else [f"{name.replace('_', ' ')}: {text}" for name, text in more.items()]
    )


def _record(mandate: Mandate) -> dict[str, object]:
    return {
        "number": mandate.number,
        "signed_by": mandate.signed_by.hex() or None,
        "default": not mandate.number,
        "text": mandate.text,
        "policy": msgspec.to_builtins(mandate.policy),
    }


def _bytes(file: Path, most: int = MAX_TEXT) -> bytes:
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(most + 1)
        with file.open("rb") as opened:
            return opened.read(most + 1)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


COMMANDS = (fleet,)
