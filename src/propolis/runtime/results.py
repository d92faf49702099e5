"""What the fleet concluded of this machine, kept beside the node's key: HOME/node/ear.jwt, the newest EAR, mode 0600.

Whoever reads it holds it against the fleet's key, the node's own key and the clock; what is off counts as nothing. A result that
the fleet took back is gone at once.
"""

import os
from pathlib import Path

import msgspec

from propolis.crypto import ear
from propolis.runtime import config
from propolis.terms.calendar import Seconds, day
from propolis.terms.errors import ConfigError, Rejected
from propolis.terms.evidence import NOTHING, Attested, Proven
from propolis.terms.identity import NodeId

FILE = "ear.jwt"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A result as it is kept: its text, what it says, and why it does not count; `reject_code` "" = it does."""

    text: str
    result: ear.Result | None
    reject_code: str = ""
    reason: str = ""


def keep(home: Path, text: str) -> None:
    """Keep the newest result, whole or not at all. Raises ConfigError."""
    beside = home / f".{FILE}.{os.getpid()}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        beside.replace(home / FILE)
    except OSError as error:
        raise ConfigError(f"{home / FILE} cannot be written: {error.strerror}") from error


def drop(home: Path) -> None:
    """Forget the result: it is over."""
    (home / FILE).unlink(missing_ok=True)


def kept(home: Path, node: NodeId | None, now: Seconds) -> Kept | None:
    """Return the kept result of a node's home, held against its fleet's key; None where there is none.

    `node`: the node whose home it is. Raises ConfigError: fleet.json or the file cannot be read.
    """
    fleet = config.read(home / "fleet.json", config.FleetFile)
    text = _text(home / FILE)
    if fleet is None or text is None:
        return None
    try:
        result = ear.verify(text, fleet.orchestrator.id, now)
    except Rejected as error:
        return Kept(text=text, result=_over(text, fleet, error), reject_code=error.reason, reason=str(error))
    if node is None or result.node != node.hex():
        return Kept(text=text, result=result, reject_code="identity", reason="it is another node's")
    return Kept(text=text, result=result)


def proven(found: Kept | None) -> Proven:
    """Return what a kept result proves; nothing where anything is off."""
    if found is None or found.result is None or found.reject_code:
        return NOTHING
    said = found.result.submods[ear.SUBMODULE]
    try:
        made = [
            Attested(technology=name, claims=said.claims, until=day(found.result.exp), emulated=said.emulated)
            for name in said.technologies
        ]
        return msgspec.convert(msgspec.to_builtins(made), type=Proven)  # held against the bounds of every field
    except msgspec.ValidationError:
        return NOTHING  # words that this release does not know


def _over(text: str, fleet: config.FleetFile, error: Rejected) -> ear.Result | None:
    """Return what a result said that is only too old; nothing of one that nobody signed."""
    return ear.signed(text, fleet.orchestrator.id) if error.reason == "ear_expired" else None


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(ear.MAX_EAR + 1).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
