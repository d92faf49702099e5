"""One question to the machine at a time: a file, a folder, a device, a call, a command. Each gives a bounded answer."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import IO

from propolis.adapters.probe.plan import Command, Keep, Leaves, Plan
from propolis.terms.recording import MOST_TEXT, Outcome, Seen

MOST_READ = 4 * 2**20  # of /proc/cpuinfo on the largest machines, before a keep
GRACE = 0.2  # seconds for the last words of a command that ended
MOST_NAMES = 512
MOST_LEAVES = 256
_MISSING = (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOSYS, errno.ENOTDIR, errno.EOPNOTSUPP)
_DENIED = (errno.EACCES, errno.EPERM)
_NO_SUCH_QUESTION = ("unrecognized option", "invalid option", "unknown option")  # of a command older than the question

Put = Callable[[str, Seen], None]


def files(plan: Plan, put: Put) -> None:
    """Ask for all files, folders and devices of a plan, in turn."""
    for path in plan.texts:
        put(f"file:{path}", text(path))
    for path, keep in plan.kept.items():
        put(f"file:{path}", text(path, keep))
    for path in plan.binaries:
        put(f"file:{path}", text(path, binary=True))
    for path, begins in plan.folders.items():
        put(f"folder:{path}", folder(path, begins))
    for path in plan.devices:
        put(f"open:{path}", opened(path))
    for leaves in plan.leaves:
        _below(leaves, put)


def _below(leaves: Leaves, put: Put) -> None:
    listed = folder(leaves.folder, leaves.begins)
    put(f"folder:{leaves.folder}", listed)
    for name in listed.text.split("\n")[:MOST_LEAVES] if listed.text else []:
        for leaf in leaves.names:
            seen = text(f"{leaves.folder}/{name}/{leaf}")
            if seen.outcome is not Outcome.MISSING:
                put(f"file:{leaves.folder}/{name}/{leaf}", seen)


def text(path: str, keep: Keep | None = None, *, binary: bool = False) -> Seen:
    """Return what is in a file, as text or hexadecimal."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = b""
            while len(data) <= MOST_READ and (piece := file.read(65_536)):
                data += piece
    except OSError as error:
        return _in_the_way(error)
    found = data.hex() if binary else data.decode("utf-8", "replace")
    return _whole(keep(found) if keep else found)


def folder(path: str, begins: tuple[str, ...]) -> Seen:
    """Return the names in a folder that have one of the beginnings; with none, only that it is there."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if begins and entry.name.startswith(begins))
    except OSError as error:
        return _in_the_way(error)
    return _whole("\n".join(names[:MOST_NAMES]))


def opened(path: str) -> Seen:
    """Return whether a device opens for reading and writing; it is closed at once and told nothing."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return _in_the_way(error)
    return Seen()


def called(call: Callable[[], str]) -> Seen:
    """Return what a call answered."""
    try:
        return _whole(call())
    except OSError as error:
        return _in_the_way(error)
    except (ValueError, AttributeError, ArithmeticError) as error:  # a place that answers in a shape nobody foresaw
        return Seen(outcome=Outcome.FAILED, text=str(error)[:200])


def run(command: Command) -> Seen:
    """Run a command within its bound: without input, in the C locale, ended with all it started when it is late."""
    program = shutil.which(command.words[0], path=_path())
    if program is None:
        return Seen(outcome=Outcome.MISSING)
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C"}
    try:
        process = subprocess.Popen(
            [program, *command.words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env=environment,
        )  # fmt: skip
    except OSError as error:
        return _in_the_way(error)
    printed, complained = _Beginning(process.stdout, MOST_READ), _Beginning(process.stderr, 4096)
    late = False
    try:
        process.wait(command.seconds)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        _end(process)  # and what it left behind, which may hold the pipes for ever
        process.wait()
    return _judged(command, process.returncode, printed.text(), complained.text(), late=late)


class _Beginning:
    """Reads a pipe to its end beside us, so that its writer never waits, and keeps the beginning."""

    def __init__(self, pipe: IO[bytes] | None, most: int) -> None:
        self._pipe, self._most, self._kept = pipe, most, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return what was printed; called when the writers are gone."""
        self._thread.join(GRACE)
        return self._kept.decode("utf-8", "replace")

    def _read(self) -> None:
        if self._pipe is None:
            return
        with self._pipe as pipe:
            while piece := pipe.read1(65_536):  # type: ignore[attr-defined]
                self._kept += piece[: max(0, self._most - len(self._kept))]


def _judged(command: Command, code: int, printed: str, complained: str, *, late: bool) -> Seen:
    if late:
        return Seen(outcome=Outcome.LATE)
    if any(each in complained for each in _NO_SUCH_QUESTION):
        return Seen(outcome=Outcome.MISSING)
    if code != 0 and not (command.partial and printed.strip()):
        return Seen(outcome=Outcome.FAILED, text=f"exit {code}")
    return _whole(command.keep(printed) if command.keep else printed)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it started, also those that outlive it."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _path() -> str:
    """The search path, with the folders of administration, which a user's often lacks."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _whole(found: str) -> Seen:
    if len(found) > MOST_TEXT:
        return Seen(outcome=Outcome.CUT, text=found[:MOST_TEXT])
    return Seen(text=found)


def _in_the_way(error: OSError) -> Seen:
    if error.errno in _MISSING:
        return Seen(outcome=Outcome.MISSING)
    if error.errno in _DENIED:
        return Seen(outcome=Outcome.DENIED)
    return Seen(outcome=Outcome.FAILED, text=errno.errorcode.get(error.errno or 0, "error"))
