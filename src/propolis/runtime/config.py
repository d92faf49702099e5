"""The state folder and the few settings in it. Unknown keys and values out of range are named, never ignored."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from propolis.terms.contact import Contact
from propolis.terms.errors import ConfigError
from propolis.terms.requirement import Region
from propolis.terms.text import clean, one_line


class OneLine(logging.Formatter):
    """Log lines stay lines: what a stranger put into a message cannot forge another one or steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        """Return the line."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  the name is logging's
        """Return the traceback; its lines are ours, what an error says in them may be a stranger's."""
        return clean(super().formatException(ei))


def log_to_stderr(level: str) -> None:
    """Set up an agent's log."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def default_home() -> Path:
    """Return $PROPOLIS_HOME, or ~/.propolis."""
    return Path(os.environ.get("PROPOLIS_HOME") or Path.home() / ".propolis")


class FleetFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fleet.json: which fleet this member belongs to; keys, token and credential in hex.

    `token` is there while the invitation is not spent yet. `operator` is whose word on nodes an owner takes, empty when it is
    the operator itself. `credential` is a node's proof that the operator invited it. `rehearsal`: this owner accepts what
    emulated TPMs prove, where the fleet's policy does.
    """

    fleet: str
    addresses: tuple[str, ...]
    token: str = ""
    operator: str = ""
    credential: str = ""
    rehearsal: bool = False

    @property
    def orchestrator(self) -> Contact:
        """Whom to dial. Raises ConfigError."""
        try:
            return Contact(peer=bytes.fromhex(self.fleet), addresses=self.addresses)
        except ValueError as error:
            raise ConfigError("fleet.json: 'fleet' is not a key in hex; join again") from error


class NodeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """node.json: what the lender offers. Zero means: find out."""

    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    slots: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    memory_mb: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 0
    packages: tuple[str, ...] = ("numpy", "onnxruntime")
    kinds: tuple[str, ...] = ("inference", "function")
    listen: tuple[str, ...] = ()  # where the way to the fleet begins
    functions_without_namespaces: bool = False  # docs/adr/0010-functions-need-namespaces.md
    region: Region = ""
    cost: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    tpm: bool = True  # show what the machine's TPM attests, where there is one
    emulated_tpm: str = ""  # socket of an emulated one to rehearse with; it proves nothing


class OrchestratorFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """orchestrator.json: where it listens; filled in at the first start so that a restart is found again."""

    listen: tuple[str, ...] = ("127.0.0.1:0",)
    websocket: str = "127.0.0.1:0"  # "" = none

    def asked(self, listen: Sequence[str]) -> "OrchestratorFile":
        """Return where to listen when asked for `listen`: both wires, on the stored ports where any port will do."""
        if not listen:
            return self
        web = _same_port(listen[0], (self.websocket,)) if self.websocket else ""
        return OrchestratorFile(listen=tuple(_same_port(address, self.listen) for address in listen), websocket=web)


def _same_port(asked: str, known: Sequence[str]) -> str:
    """Return the known address of the same host when `asked` leaves the port open: members come back to it."""
    host, _, port = asked.rpartition(":")
    return next((a for a in known if port == "0" and a.rpartition(":")[0] == host), asked)


T = TypeVar("T", FleetFile, NodeFile, OrchestratorFile)


def read(path: Path, kind: type[T]) -> T | None:
    """Return the record in a JSON file, None when there is no file. Raises ConfigError naming file and key."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="mend what is named, or move the file away") from error


def write(path: Path, record: T) -> None:
    """Replace a JSON file at once. Raises ConfigError, also for what could not be read again."""
    try:
        msgspec.convert(msgspec.to_builtins(record), type=type(record))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(msgspec.to_builtins(record), file, indent=2)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}", hint="make room and let this user write there"
        ) from error
