"""`propolis attest`: let this machine's TPM quote its registers into a file that anybody can hold against `propolis verify`.

Or say who the TPM is, for an operator to compare; or what the fleet concluded of this machine.
"""

import asyncio
import binascii
from pathlib import Path
from typing import Any

import click

from propolis.cli import standing
from propolis.cli.fleet import EMULATED, JSON
from propolis.cli.show import console, emit, errors, table
from propolis.crypto.tpm import attest as attested
from propolis.decisions.appraisal import eventlog, firmware, tpm2, tpm2_bundle
from propolis.runtime import config
from propolis.runtime.ending import Exit
from propolis.terms.errors import DataError, Rejected

PCRS = "0-7"


def registers(context: click.Context, option: click.Parameter, value: str) -> tuple[int, ...]:
    """Read registers as people write them: 0-7 or 0,4,7. Raises BadParameter."""
    found: set[int] = set()
    try:
        for part in value.split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise click.BadParameter("registers are written as 0-7 or 0,4,7") from error
    if not found or min(found) < 0 or max(found) > 23:
        raise click.BadParameter("a TPM has the registers 0 to 23")
    return tuple(sorted(found))


def _nonce(context: click.Context, option: click.Parameter, value: str | None) -> bytes:
    try:
        nonce = b"" if value is None else binascii.unhexlify(value)
    except (binascii.Error, ValueError) as error:
        raise click.BadParameter("not hexadecimal") from error
    if len(nonce) > 64:
        raise click.BadParameter("a TPM takes at most 64 bytes")
    return nonce


@click.command()
@click.option(
    "--nonce", callback=_nonce, metavar="HEX", help="What the verifier asked with; without it the quote has no day."
)
@click.option("--pcrs", callback=registers, default=PCRS, show_default=True, help="Registers to quote.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the evidence here, not to the terminal."
)
@click.option(
    EMULATED,
    "emulator",
    type=click.Path(path_type=Path),
    metavar="SOCKET",
    help="Ask swtpm at this socket instead of this machine's TPM. It proves nothing.",
)
@click.option(
    "--identity", "who", is_flag=True, help="Say who the TPM is: its endorsement key, to be compared by people."
)
@click.option(
    "--result", "newest", is_flag=True, help="Say what the fleet concluded of this home's node: its newest EAR."
)
@JSON
@click.pass_obj
def attest(
    home: Path,
    /,
    nonce: bytes,
    pcrs: tuple[int, ...],
    out: Path | None,
    emulator: Path | None,
    who: bool,
    newest: bool,
    as_json: bool,
) -> int:
    """Let this machine's TPM show what it booted. Whoever checks it: propolis verify FILE --type tpm2-quote --nonce HEX."""
    if (who or newest) and (nonce or out or (who and newest)):
        raise click.UsageError("--identity and --result stand alone: they quote nothing")
    if newest:
        return _result(home / "node", as_json)
    if who:
        return _identity(home / "node", emulator, as_json)
    from propolis.node import attesting  # lines to a TPM are each of one system

    with errors.status("asking the TPM"):
        found = asyncio.run(attesting.evidence(emulator, nonce, pcrs))
    text = tpm2_bundle.written(found)
    if out is None:
        click.echo(text, nl=False)
        return Exit.OK
    try:
        out.write_text(text)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}") from error
    emit(as_json, _record(found, out), table("", ("", ""), [(k, _shown(v)) for k, v in _record(found, out).items()]))
    return Exit.OK


def _identity(home: Path, emulator: Path | None, as_json: bool) -> int:
    """Say who the TPM is that a node of this home shows: the one named, or the one it rehearses with, or the machine's own."""
    from propolis.node import attesting

    settings = config.read(home / "node.json", config.NodeFile)
    if emulator is None and settings is not None and settings.emulated_tpm:
        emulator = Path(settings.emulated_tpm)
    with errors.status("asking the TPM"):
        record = standing.identity(asyncio.run(attesting.attester_of(emulator).identity()))
    key = f"endorsement key:\n  {record['endorsement_key']}\n"  # a line of its own: people compare it, so it is never broken
    if not as_json:
        console.print(key, end="")
    emit(as_json, record, table("", ("", ""), standing.identity_words(record)))
    return Exit.OK


def _result(home: Path, as_json: bool) -> int:
    record = standing.result(home)
    emit(as_json, record, table("", ("", ""), standing.result_words(record)))
    return Exit.OK if record["counts"] else Exit.FAILED


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return standing.emulated_words(emulated=value)
    if isinstance(value, list):
        return "\n".join(value) or "nothing that its log tells"
    return str(value)


def _endorsement(*, emulated: bool, certificate: bool) -> str:
    if not certificate:
        return "no certificate: its key stands for itself"
    return "a certificate of a test root: EMULATED, it proves nothing" if emulated else "a certificate of its maker"


def _loaded(found: tpm2.Evidence) -> list[str]:
    """Return the digests of what was loaded, as fleet policy image add takes them: where the log is what the registers hold."""
    try:
        log = eventlog.parse(found.event_log) if found.event_log else None
        if log is None:
            return []
        eventlog.agrees(log, found.values, found.bank)  # also: it has this bank; old firmware logs SHA-1 alone
        boot = firmware.read(log, found.bank)
    except Rejected:
        return []
    return [digest.hex() for digest in boot.applications]


def _record(found: tpm2.Evidence, out: Path) -> dict[str, Any]:
    emulated = tpm2.emulated(attested.parse(found.attest).clock)
    return {
        "evidence": str(out),
        "bytes": out.stat().st_size,
        "registers": ",".join(map(str, sorted(found.values))),
        "emulated": emulated,
        "endorsement": _endorsement(emulated=emulated, certificate=bool(found.certificate)),
        "firmware_log": len(found.event_log),
        "loaded": _loaded(found),
        "measurements": len(found.ima_list),
    }
