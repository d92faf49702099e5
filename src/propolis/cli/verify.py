"""`propolis verify`: hold other people's evidence against this verifier, offline. Reads files, prints a verdict."""

import binascii
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from propolis.cli.fleet import JSON
from propolis.cli.show import emit, table
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import bundles, judge, pins, registry
from propolis.decisions.appraisal.bundles import Found
from propolis.decisions.appraisal.envelope import MAX_EVIDENCE
from propolis.decisions.appraisal.judge import Judgement
from propolis.decisions.appraisal.result import Endorsements, refused
from propolis.runtime.ending import Exit
from propolis.terms.calendar import Seconds, day, rfc3339
from propolis.terms.errors import DataError, Rejected
from propolis.terms.trust import CLAIMS, Tier

MAX_FILES = 1024
PATH = click.Path(path_type=Path, exists=True)


def _kind(context: click.Context, option: click.Parameter, value: str) -> str:
    try:
        registry.find(value)
    except Rejected as error:
        raise click.BadParameter(str(error)) from error
    return value


def _nonce(context: click.Context, option: click.Parameter, value: str | None) -> bytes | None:
    try:
        return None if value is None else binascii.unhexlify(value)
    except (binascii.Error, ValueError) as error:
        raise click.BadParameter("not hexadecimal") from error


def _at(context: click.Context, option: click.Parameter, value: str | None) -> Seconds:
    try:
        return time.time() if value is None else float(rfc3339(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("evidence", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--type", "kind", required=True, callback=_kind, help=f"One of {', '.join(sorted(registry.KNOWN))}.")
@click.option("--nonce", callback=_nonce, metavar="HEX", help="What was asked; without it nothing says how old it is.")
@click.option("--roots", type=PATH, multiple=True, help="Folder or file of roots to trust, instead of the makers'.")
@click.option("--endorsements", type=PATH, multiple=True, help="Folder or file of certificates, lists, collateral.")
@click.option("--at", callback=_at, metavar="TIME", help="Verify as of this time (RFC 3339). Default: now.")
@JSON
def verify(
    evidence: Path,
    kind: str,
    nonce: bytes | None,
    roots: tuple[Path, ...],
    endorsements: tuple[Path, ...],
    at: Seconds,
    as_json: bool,
) -> int:
    """Verify EVIDENCE of a machine: who signed it, what it says, what that is worth: its status and claims.

    Code 0: it is what it says, which can still be worth nothing; 1: refused.
    """
    trusted, endorsed = bundles.read_files(_files(roots)), bundles.read_files(_files(endorsements))
    judgement = _judged(kind, _bounded(evidence), trusted, endorsed, nonce, at, own=bool(roots))
    record = _record(kind, judgement, at, (*trusted.ignored, *endorsed.ignored))
    rows = [(name, _shown(value)) for name, value in record.items() if _told(name, value)]
    emit(
        as_json, record, table("", ("", ""), rows + [(name, _shown(value)) for name, value in record["facts"].items()])
    )
    return Exit.OK if judgement.ok else Exit.FAILED


def _told(name: str, value: Any) -> bool:
    """Return whether people are shown it; that nothing is claimed is what they have to see most."""
    return name == "claims" or (name != "facts" and value not in (None, "", []))


def _judged(
    kind: str, data: bytes, trusted: Found, endorsed: Found, nonce: bytes | None, at: Seconds, *, own: bool
) -> Judgement:
    roots: Roots = trusted.roots() if own else pins.makers()
    try:
        both: Endorsements = trusted.beside_roots().joined(endorsed.endorsements())
    except Rejected as error:
        return Judgement(reason=error.reason, text=str(error))
    return judge.judge(kind, data, endorsements=both, nonce=nonce, roots=roots, now=at)


def _bounded(path: Path) -> bytes:
    """Read a file, and one byte more than any verifier takes of what is longer: enough to be refused."""
    try:
        with path.open("rb") as file:
            return file.read(max(MAX_EVIDENCE, bundles.MAX_FILE) + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _files(paths: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
    count = 0
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise DataError(f"more than {MAX_FILES} files of roots or endorsements", hint="name a smaller folder")
            yield str(file), _bounded(file)


def _record(kind: str, judgement: Judgement, at: Seconds, ignored: tuple[str, ...]) -> dict[str, Any]:
    verified, appraised = judgement.verified, judgement.appraised
    vector = appraised.vector if appraised else refused(judgement.reason)
    return {
        "verdict": "verified" if judgement.ok else "refused",
        "reject_code": judgement.reason or None,
        "reason": judgement.text,
        "type": kind,
        "technology": verified.technology if verified else None,
        "status": str(appraised.status if appraised else Tier.CONTRAINDICATED),
        "claims": list(appraised.attested.claims) if appraised else [],
        "trust_vector": dict(zip(CLAIMS, map(int, msgspec.structs.astuple(vector)), strict=True)),
        "identity": verified.identity if verified else None,
        "fresh": verified.fresh if verified else False,
        "at": day(at),
        "until": appraised.attested.until if appraised else None,
        "facts": dict(verified.facts) if verified else {},
        "ignored": list(ignored),
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
