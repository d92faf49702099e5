"""The local control socket: how processes of one user share one home. Its records, its framing, its lock and its path.

One process holds the home (its identity, keys, store and connection); the others speak to it through a Unix socket that
only the same user can open. What passes here never leaves the machine's memory. Frames are u32 length and msgpack.
"""

import asyncio
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec

from propolis.messages import codec
from propolis.messages.jobs import Code, Progress, Reason, Refused, TaskResult
from propolis.messages.membership import Role
from propolis.messages.rows import Rows
from propolis.messages.values import Outcome
from propolis.owner.live import Draft
from propolis.terms.credential import Credential, Key
from propolis.terms.errors import ConfigError, MalformedMessage, PeerUnreachable, TooLarge
from propolis.terms.identity import Id16, Ticket
from propolis.terms.job import MAX_GRANTED, MAX_PROGRAM_BYTES, MAX_TASK_BYTES, Granted, JobSpec
from propolis.terms.policy import MAX_POLICY_BYTES, PolicyOrder

SOCKET = "control"
LOCK = "holder.lock"
MAX_RECORD = MAX_PROGRAM_BYTES + 1024 * 1024  # a submission with its program and nothing else of size
MAX_ITEMS = 4096  # inputs or results in one record
MAX_JOBS = 65_536  # of one home in one answer
MAX_PATH = 100  # sockaddr_un holds 108 bytes


class HolderGone(PeerUnreachable):
    """The process that held the home ended; another takes its place."""


class Request(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="type"):
    """What a follower asks; `ticket` comes back with the reply."""

    ticket: Ticket


class AskOrchestrator(Request, frozen=True, tag="ask"):
    """A question for the orchestrator."""

    what: Annotated[str, msgspec.Meta(max_length=20)]
    job: Annotated[bytes, msgspec.Meta(max_length=16)] = b""


class AskInvitation(Request, frozen=True, tag="invite"):
    """A fresh invitation, good for so long."""

    role: Role
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e10)]


class AskRemoval(Request, frozen=True, tag="remove"):
    """A member's end."""

    member: Key
    shown: Credential | None = None


class AskPolicy(Request, frozen=True, tag="policy"):
    """The fleet's appraisal policy."""


class ChangePolicy(Request, frozen=True, tag="set-policy"):
    """Another appraisal policy."""

    text: Annotated[bytes, msgspec.Meta(max_length=MAX_POLICY_BYTES)]


class AskJobs(Request, frozen=True, tag="jobs"):
    """The jobs of this home."""


class AskBusy(Request, frozen=True, tag="busy"):
    """Whether a job has not ended."""


class AskGranted(Request, frozen=True, tag="granted"):
    """Which guests got a job's key."""

    job: Id16


class OpenJob(Request, frozen=True, tag="open"):
    """Follow a job: Opened, Arrived and Moved come from now on."""

    job: Id16


class AddInputs(Request, frozen=True, tag="inputs"):
    """A part of the inputs of the job that SubmitJob with the same ticket completes; not replied to."""

    items: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_TASK_BYTES)], ...], msgspec.Meta(max_length=MAX_ITEMS)
    ]


class SubmitJob(Request, frozen=True, tag="submit"):
    """A job; its inputs came before."""

    draft: Draft


class StopJob(Request, frozen=True, tag="stop"):
    """A job's end."""

    job: Id16


class Reply(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="type", tag="reply"):
    """The answer to one request; `code` names the error, if it is one."""

    ticket: Ticket
    code: Code = ""
    reason: Reason = ""
    rows: Rows | None = None
    text: Annotated[str, msgspec.Meta(max_length=16_384)] = ""
    jobs: Annotated[tuple[Id16, ...], msgspec.Meta(max_length=MAX_JOBS)] = ()
    granted: Annotated[tuple[Granted, ...], msgspec.Meta(max_length=MAX_GRANTED)] = ()
    policy: PolicyOrder | None = None


class Opened(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="type", tag="opened"):
    """A job is followed from here on."""

    spec: JobSpec
    bare_array: bool


class Moved(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="type", tag="moved"):
    """Where a followed job stands."""

    job: Id16
    progress: Progress | None
    refused: Refused | None


class Arrived(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag_field="type", tag="arrived"):
    """Opened results of a followed job."""

    job: Id16
    results: Annotated[tuple[tuple[TaskResult, Outcome | None], ...], msgspec.Meta(max_length=MAX_ITEMS)]


FromFollower = (
    AskOrchestrator
    | AskInvitation
    | AskRemoval
    | AskPolicy
    | ChangePolicy
    | AskGranted
    | AskJobs
    | AskBusy
    | OpenJob
    | AddInputs
    | SubmitJob
    | StopJob
)
FromHolder = Reply | Opened | Moved | Arrived


async def read(reader: asyncio.StreamReader, kind: Any) -> Any:
    """Return the next record. Raises HolderGone at the end, MalformedMessage."""
    try:
        size = int.from_bytes(await reader.readexactly(4), "big")
        if size > MAX_RECORD:
            raise MalformedMessage(f"a record of {size} bytes is over the bound")
        data = await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise HolderGone("the process at the other end of the control socket ended") from error
    return codec.decode(data, kind)


async def write(writer: asyncio.StreamWriter, record: object) -> None:
    """Send a record. Raises HolderGone, TooLarge."""
    data = codec.encode(record)
    if len(data) > MAX_RECORD:
        raise TooLarge(f"a record of {len(data)} bytes does not travel")
    try:
        writer.write(len(data).to_bytes(4, "big") + data)
        await writer.drain()
    except (ConnectionError, RuntimeError) as error:
        raise HolderGone("the process at the other end of the control socket ended") from error


def same_user(sock: socket.socket) -> bool:
    """Return whether the process at the other end is ours (or root); where the kernel cannot say, the file's mode decides."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.getuid())


class SocketPath:
    """The socket's address; a folder too deep for sockaddr_un is reached through an open descriptor of it."""

    def __init__(self, home: Path) -> None:
        """Raises ConfigError where the path is too long and there is no way around it."""
        self.path = home / SOCKET
        self._folder = -1
        self.address = str(self.path)
        if len(os.fsencode(self.address)) > MAX_PATH:
            if sys.platform != "linux":
                raise ConfigError(f"{home} is too deep for a control socket; choose a shorter home")
            self._folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
            self.address = f"/proc/self/fd/{self._folder}/{SOCKET}"

    def close(self) -> None:
        """Let go of the folder; idempotent."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


class Lock:
    """A file only one process holds; the kernel lets go when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> bool:
        """Return whether we hold it now."""
        try:
            import fcntl
        except ImportError:  # no flock here: the store's own lock is what keeps a second process out
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
