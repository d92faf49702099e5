"""The fork server: imports what guests need once, single-threaded, then forks a confined guest per request.

It holds no secret and never sees a byte of a job. Requests come over a socketpair as (profile, job descriptors); it answers
with pids, ends guests on request, and reports their end. It dies with its agent, and its guests die with it.
"""

import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from propolis.adapters.executor.confine import kernel, profile, room
from propolis.adapters.executor.environment import THREADS
from propolis.guest import threads as thread_defaults
from propolis.guest.loop import GuestLoop
from propolis.messages import codec
from propolis.messages.zygote import Ended, Forked, Kill, Request, Spawn
from propolis.terms.capability import Isolation, Rung

CONTROL = 3
SOURCE, SINK = 10, 11


def preload() -> None:
    """Import the heavy packages once; children share their pages."""
    import numpy as np
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    thread_defaults.settle()
    np.zeros(1)
    from propolis.guest import work  # noqa: F401

    room.runtime_folders()


def threads() -> int:
    """Return how many threads this process has; a fork with more than one would be unsound."""
    return len(os.listdir("/proc/self/task"))


def main() -> NoReturn:
    """Serve until the agent goes away."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # what a guest leaves behind becomes ours to reap
    preload()
    if threads() != 1:
        os.write(2, b"the fork server has more than one thread; refusing to fork\n")
        os._exit(profile.FAILED)
    server = Zygote(socket.socket(fileno=CONTROL))
    server.serve()
    os._exit(0)


class Zygote:
    """The loop of the fork server."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._ended: dict[int, int] = {}  # outermost process reaped, its tree perhaps not yet
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Answer requests until the agent's end is closed."""
        try:
            self._control.send(codec.encode(Forked(ticket=0, pid=os.getpid())))
        except BrokenPipeError:
            return  # the agent left while we imported
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poller.poll()]
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._request():
                return

    def _request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 3)
        if not data:
            return False
        request: Request = codec.decode(data, Request)
        match request:
            case Spawn():
                self._spawn(request, descriptors)
            case Kill(pid=pid) if pid in self._children and pid not in self._ended:  # a reaped number may be another's
                os.kill(pid, signal.SIGKILL)
            case Kill():
                pass
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _spawn(self, request: Spawn, descriptors: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            _become_guest(request, descriptors)
        self._children.add(pid)
        self._control.send(codec.encode(Forked(ticket=request.ticket, pid=pid)))

    def _reap(self) -> None:
        """Report each guest of which nothing is left: first its outermost process ends, then all that became ours by that.

        A guest is a process group of its own that it cannot leave (no setsid, no setpgid in its filter).
        """
        for pid in self._children - set(self._ended):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._ended[pid] = status
        for pid, status in list(self._ended.items()):
            if _group_gone(pid):
                self._children.discard(pid)
                del self._ended[pid]
                self._control.send(codec.encode(Ended(pid=pid, status=status)))


def _group_gone(group: int) -> bool:
    """Reap what is left of a guest; return whether that was all."""
    while True:
        try:
            found, _ = os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            return True
        if found == 0:
            return False


def _become_guest(request: Spawn, descriptors: list[int]) -> NoReturn:
    """In the child: take the job's descriptors and nothing else, confine, serve, end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    source, sink, errors = (os.dup(descriptor) for descriptor in descriptors)
    null = os.open("/dev/null", os.O_RDWR)
    for have, want in ((null, 0), (errors, 1), (errors, 2), (source, 100), (sink, 101)):
        os.dup2(have, want, inheritable=False)
    os.closerange(3, 100)
    os.dup2(100, SOURCE, inheritable=False)
    os.dup2(101, SINK, inheritable=False)
    os.closerange(SINK + 1, 4096)
    _environment()
    confined = request.profile
    isolation = profile.confine(confined)
    serve(isolation, confined=True)


def _environment() -> None:
    """Build the environment from nothing."""
    os.environ.clear()
    os.environ.update({
        "PATH": "/usr/bin:/bin",
        "HOME": "/job",
        "LANG": "C.UTF-8",
        **THREADS,
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    })  # fmt: skip


def serve(isolation: Isolation, *, confined: bool) -> NoReturn:
    """Run the guest loop on the job's descriptors and end the process."""
    lock = profile.lock if confined else None
    limit = profile.limit_memory if confined else None
    code = 0
    try:
        GuestLoop(SOURCE, SINK, isolation, lock, limit).run()
    except OSError:
        code = 1  # the agent is gone
    except MemoryError:
        code = 2
    sys.stderr.flush()
    os._exit(code)


def main_bare() -> NoReturn:
    """An unconfined guest on stdin and stdout, for the executor that says so in its name."""
    os.dup2(0, SOURCE)
    os.dup2(1, SINK)
    os.dup2(2, 1)
    time.tzset()
    thread_defaults.settle()
    serve(Isolation(rung=Rung.BARE, notes=("unconfined by the lender's explicit option",)), confined=False)
