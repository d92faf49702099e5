"""The profile: the steps that confine this very process, in order. Any failure ends it with exit code 99, never weaker.

Called in a freshly forked, single-threaded child that has not read a byte of any job. Order and traps: the ladder's facts.
With namespaces the caller becomes process 1 of its own PID namespace; a small parent waits outside and dies with it.
"""

import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from propolis.adapters.executor.confine import kernel, landlock, room, seccomp
from propolis.messages.zygote import Profile
from propolis.terms.capability import Isolation, Rung

FAILED = 99
FLAT_ABI = 3
"""Without a mount namespace the host's files are in sight: Landlock must cover truncate as well."""

_MB = 1024 * 1024

_CPU = "/sys/devices/system/cpu"
_READ = (
    "/proc/cpuinfo", "/proc/meminfo", "/dev/urandom", "/dev/null", "/etc/ld.so.cache", f"{_CPU}/online", f"{_CPU}/possible",
    f"{_CPU}/present",
)  # fmt: skip
"""Not /proc/stat: its counts of interrupts tell when the lender presses a key; nor what counts each core's idle time."""

_OWN = (
    "auxv",
    "cmdline",
    "comm",
    "fd",
    "fdinfo",
    "io",
    "limits",
    "maps",
    "oom_score",
    "smaps",
    "stat",
    "statm",
    "status",
)
"""Of its own /proc/self, by name: net has the lender's connections and neighbours, mountinfo and cgroup its paths."""


def confine(profile: Profile) -> Isolation:
    """Confine this process or end it. Returns what was reached; with namespaces only process 1 returns."""
    try:
        return _confine(profile)
    except OSError as error:
        _fail(f"{error}")


def _fail(why: str) -> NoReturn:
    os.write(2, f"confinement failed: {why}\n".encode())
    os._exit(FAILED)


def _confine(profile: Profile) -> Isolation:
    if profile.rung not in (Rung.FLAT, Rung.NAMESPACES):
        _fail(f"{profile.rung.name} is no profile of the sandbox")
    os.umask(0o022)
    os.setsid()
    privileged = os.geteuid() == 0
    if privileged and not profile.uid:
        _fail("a privileged agent must name a uid for the slot")
    if profile.rung is Rung.NAMESPACES:
        _namespaces(profile, privileged)
    elif privileged:
        kernel.empty_bounding_set()  # afterwards we may no longer
        _become(profile.uid)
        _reachable()
    if profile.rung is Rung.FLAT:
        os.chdir("/")  # where the agent was started is nobody's business
    os.umask(0o077)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    _limits(profile)
    kernel.drop_capabilities()  # whoever the agent is: it may be a user with capabilities of its own
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if profile.rung is Rung.FLAT and landlock.abi() < FLAT_ABI:
        _fail(f"Landlock ABI {landlock.abi()} cannot forbid truncate; without namespaces {FLAT_ABI} is needed")
    abi = landlock.restrict(_rules(profile))
    scratch = profile.rung is Rung.NAMESPACES
    seccomp.install(seccomp.start_program(scratch=scratch))
    _proven()
    return Isolation(
        rung=profile.rung,
        landlock_abi=abi,
        filter_hash=seccomp.filter_hash(scratch=scratch),
        own_uid=privileged,
        memory_mb=profile.memory_mb,
    )


def _proven() -> None:
    """Try what must be refused, on ourselves, before anything is claimed: a file, a socket, a fork."""
    _refused("open", lambda: os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY)))
    _refused("socket", lambda: socket.socket().close())
    _refused("fork", _fork)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _refused(what: str, attempt: Callable[[], None]) -> None:
    try:
        attempt()
    except PermissionError:
        return
    except OSError as error:
        _fail(f"{what} failed for another reason than the confinement: {error}")
    _fail(f"{what} was not refused")


def _become(uid: int) -> None:
    """Give up root for a uid of the slot's own; nothing of a job was read before this."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # so that our own /proc/self may be written below
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # cleared by the change of credentials


def _reachable() -> None:
    for folder in room.runtime_folders():
        if not os.access(folder, os.R_OK | os.X_OK):
            _fail(f"the sandbox's user cannot read {folder}; install propolis where every user can read it")


def _namespaces(profile: Profile, privileged: bool) -> None:
    """Enter a private root and namespaces; return as process 1 of the new PID namespace."""
    parent = os.getppid()
    everything = (
        kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
        | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    )  # fmt: skip
    if privileged:  # the runtime may lie where only root may look (/root): bind it while we still may
        kernel.unshare(kernel.CLONE_NEWNS)
        room.build(profile.uid, profile.uid)
        _become(profile.uid)
        kernel.unshare(everything)
        _map(profile.uid, profile.uid)
    else:
        uid, gid = os.getuid(), os.getgid()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.unshare(everything)
        _map(uid, gid)
        room.build(1000, 1000)
    if os.getppid() != parent:
        os._exit(FAILED)  # the agent died while we were busy
    child = os.fork()
    if child:
        _wait(child)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    room.finish()
    _own_null()
    _name("job")


def _own_null() -> None:
    """Our stdin was opened on the host's mount of /dev/null, where its times could be changed; the room's is read-only."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0, inheritable=False)
    os.close(null)


def _map(uid: int, gid: int) -> None:
    for file, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)


def _wait(child: int) -> NoReturn:
    """Outside, as the namespaces' parent: hold nothing, wait, and end as the child ended."""
    os.closerange(0, 256)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _name(host: str) -> None:
    number = {"x86_64": 170, "aarch64": 161}[kernel.MACHINE]
    import ctypes

    kernel.syscall(number, ctypes.create_string_buffer(host.encode()), len(host))


def _limits(profile: Profile) -> None:
    """Set hard limits. Inside the user namespace the task count is the guest's own."""
    space = _address_space() + profile.memory_mb * _MB
    limits = {
        resource.RLIMIT_AS: space,
        resource.RLIMIT_FSIZE: profile.file_mb * _MB,
        resource.RLIMIT_NOFILE: profile.files,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_CORE: 1,  # 0 would not stop a piped core handler
        resource.RLIMIT_MSGQUEUE: 0,
    }
    # Inside the user namespace, and under a slot's own uid, every task counted is the guest's. An ordinary user's other
    # tasks count too: those that live now are added, so the bound is loose by what that user ends meanwhile.
    shared = profile.rung is Rung.FLAT and not profile.uid
    limits[resource.RLIMIT_NPROC] = profile.tasks + (_tasks_of(os.getuid()) if shared else 0)
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def _tasks_of(uid: int) -> int:
    """Return how many tasks of a user run now, as far as /proc shows them."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}/task").st_uid == uid or name == str(os.getpid()):
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def limit_memory(memory_mb: int) -> None:
    """Lower the guest's memory to what its job declared; it can never be raised again."""
    value = _address_space() + memory_mb * _MB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(resource.RLIMIT_AS, (value, value))


def lock() -> None:
    """Stage 2: nothing new can be opened, nothing new can be executed. Raises OSError."""
    seccomp.install(seccomp.lock_program())


def _rules(profile: Profile) -> list[tuple[str, int]]:
    rules = [(folder, landlock.RUN) for folder in room.runtime_folders()]
    rules += [(folder, landlock.RUN) for folder in ("/lib", "/lib64")]
    rules += [(name, landlock.READ) for name in (*_READ, *(f"/proc/self/{name}" for name in _OWN))]
    rules.append(("/proc/self/task", landlock.LIST))  # what lies below has the host's network, mounts and groups again
    if profile.rung is Rung.NAMESPACES:
        rules += [("/job", landlock.WORK), ("/tmp", landlock.WORK)]  # noqa: S108
    return rules
