"""Seccomp: an allow-list of system calls as hand-assembled BPF, in two stages. Everything not named fails with EPERM.

Stage 1 (`start`) carries interpreter, numpy and onnxruntime after they were imported; no exec, no fork, no sockets, no new
kernel objects. Stage 2 (`lock`) is for fixed models once everything is in memory: no new descriptor, no executable memory.
What changes a file's mode, times, owner, attributes, or its length by path is absent: Landlock covers none of it (truncate only
from ABI 3), and a guest without namespaces sees the host's files. With namespaces all but its scratch folders is mounted
read-only, so mode, times and length are its own to change there (`scratch`). No guest holds a lock: the files of the runtime are
the host's, and a lock on one would be felt outside. A guest is one process, alone in its scratch: with `scratch`, locks are
granted without being taken, which is what the kernel would say to POSIX locks; of flock only that one process's own two
descriptors no longer exclude each other.
Facts: docs/security/attacks.md. aarch64 numbers follow the kernel's generic table and were not run by us.
"""

import ctypes
import hashlib
import os
import struct

from propolis.adapters.executor.confine import kernel

_LD_W_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS, _ENOTSUP, _DONE = (
    0x00050001,
    0x00050026,
    0x0005005F,
    0x00050000,
)  # errors given without a call; 0 = success
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64); None = the machine has no such call
_TABLE: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "ioctl": (16, 29),
    "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, None),
    "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23),
    "dup2": (33, None), "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, None), "setitimer": (38, 103),
    "getpid": (39, 172), "clone": (56, 220), "exit": (60, 93), "uname": (63, 160), "fcntl": (72, 25),
    "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46), "getdents": (78, None),
    "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, None), "mkdir": (83, None),
    "rmdir": (84, None), "unlink": (87, None), "readlink": (89, None),
    "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, None), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156), "sigaltstack": (131, 132), "statfs": (137, 43),
    "fstatfs": (138, 44), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "prctl": (157, 167),
    "arch_prctl": (158, None), "setrlimit": (160, 164), "gettid": (186, 178), "time": (201, None), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "tgkill": (234, 131), "openat": (257, 56), "mkdirat": (258, 34), "newfstatat": (262, 79), "unlinkat": (263, 35),
    "renameat": (264, 38), "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72),
    "ppoll": (271, 73), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "dup3": (292, 24), "preadv": (295, 69), "pwritev": (296, 70), "prlimit64": (302, 261), "getcpu": (309, 168),
    "renameat2": (316, 276), "seccomp": (317, 277), "getrandom": (318, 278), "membarrier": (324, 283),
    "statx": (332, 291), "rseq": (334, 293), "clone3": (435, 435), "faccessat2": (439, 439),
}  # fmt: skip

_SCRATCH: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45), "msync": (26, 227),
}  # fmt: skip
"""Only with namespaces. Owners, links and extended attributes stay absent: nothing ordinary needs them."""

_ANSWERED: dict[str, tuple[int | None, int | None]] = {
    "flock": (73, 32), "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13),
}  # fmt: skip
"""Only with namespaces, and never made: who copies a file asks for its attributes, and goes on where there can be none."""

_NUMBERS = {**_TABLE, **_SCRATCH, **_ANSWERED}
_CHECKED = ("clone", "clone3", "ioctl", "fcntl", "prctl", "prlimit64", "seccomp", "tgkill", "mmap", "madvise")
_LOCK = (
    "read", "write", "readv", "writev", "close", "fstat", "lseek", "mmap", "mprotect", "munmap", "brk", "mremap", "madvise",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "futex", "clone", "clone3", "sched_yield",
    "sched_getaffinity", "set_robust_list", "rseq", "gettid", "getpid", "clock_gettime", "clock_nanosleep", "nanosleep",
    "gettimeofday", "time", "getrandom", "getcpu", "poll", "ppoll", "select", "pselect6", "exit", "exit_group",
    "restart_syscall", "membarrier", "getrusage", "tgkill",
)  # fmt: skip
_IOCTLS = (0x5401, 0x5451, 0x5450, 0x541B, 0x5421)  # TCGETS FIOCLEX FIONCLEX FIONREAD FIONBIO
_PRCTLS = (3, 15, 16, 21, 23, 38, 39, 0x53564D41)  # getters, names, no_new_privs, SET_VMA
_FCNTLS = (0, 1, 2, 3, 1030)  # F_DUPFD F_GETFD F_SETFD F_GETFL F_DUPFD_CLOEXEC: no owners, signals, leases or locks
_ASK_LOCKS, _TAKE_LOCKS = (5, 36), (6, 7, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and the same for open file descriptions
_F_SETFL, _O_ASYNC = 4, 0x2000
_NEW_NAMESPACES = 0x7E020080
_CLONE_THREAD = 0x10000
_MERGEABLE = 12  # pages shared with whoever has the same ones: a guest could guess at those of virtual machines by time
_HUGETLB = 0x40000  # huge pages are a pool that the lender set aside for something else

Instruction = tuple[int, int, int, int]


def _number(name: str) -> int | None:
    return _NUMBERS[name][0 if kernel.MACHINE == "x86_64" else 1]


def _low(argument: int) -> Instruction:
    return (_LD_W_ABS, 0, 0, 16 + 8 * argument)


def _ret(value: int) -> Instruction:
    return (_RET, 0, 0, value)


def _block(name: str, *, executable: bool, scratch: bool) -> list[Instruction]:
    """Return what follows once the number matched; ends in a return on every path."""
    match name:
        case "clone":
            return [_low(0), (_JSET, 2, 0, _NEW_NAMESPACES), (_JSET, 0, 1, _CLONE_THREAD), _ret(_ALLOW), _ret(_EPERM)]
        case "clone3":
            return [_ret(_ENOSYS)]  # glibc then uses clone, whose flags can be read
        case "fcntl":
            setfl = [(_JEQ, 0, 4, _F_SETFL), _low(2), (_JSET, 1, 0, _O_ASYNC), _ret(_ALLOW), _ret(_EPERM)]
            taken = [step for word in _TAKE_LOCKS for step in ((_JEQ, 0, 1, word), _ret(_DONE))] if scratch else []
            return [_low(1), *taken, *setfl, *_one_of(1, (*_FCNTLS, *(_ASK_LOCKS if scratch else ())))]
        case "flock":
            return [_ret(_DONE)]
        case _ if name in _ANSWERED:
            return [_ret(_ENOTSUP)]
        case "ioctl":
            return _one_of(1, _IOCTLS)
        case "prctl":
            return _one_of(0, _PRCTLS)
        case "prlimit64":
            return _one_of(0, (0,))
        case "seccomp":  # a further filter, plain or on all threads: it can only take away
            return [_low(0), (_JEQ, 0, 3, 1), _low(1), (_JGE, 1, 0, 2), _ret(_ALLOW), _ret(_EPERM)]
        case "tgkill":
            return _one_of(0, (os.getpid(),))
        case "madvise":
            return [_low(2), (_JEQ, 0, 1, _MERGEABLE), _ret(_EPERM), _ret(_ALLOW)]
        case "mmap":
            plain = [] if executable else [_low(2), (_JSET, 0, 1, 4), _ret(_EPERM)]
            return [*plain, _low(3), (_JSET, 0, 1, _HUGETLB), _ret(_EPERM), _ret(_ALLOW)]
        case "mprotect" if not executable:
            return [_low(2), (_JSET, 1, 0, 4), _ret(_ALLOW), _ret(_EPERM)]
        case _:
            return [_ret(_ALLOW)]


def _one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    count = len(values)
    tests = [(_JEQ, count - n, 0, value) for n, value in enumerate(values)]
    return [_low(argument), *tests, _ret(_EPERM), _ret(_ALLOW)]


def program(names: tuple[str, ...], *, executable: bool, scratch: bool = False) -> list[Instruction]:
    """Return the filter: wrong machine or 32-bit numbers die or fail, the named calls pass their checks, the rest fails."""
    code: list[Instruction] = [
        (_LD_W_ABS, 0, 0, 4),
        (_JEQ, 1, 0, _ARCH[kernel.MACHINE]),
        _ret(_KILL),
        (_LD_W_ABS, 0, 0, 0),
    ]
    code += [(_JGE, 0, 1, 0x40000000), _ret(_EPERM)]  # the x32 table
    for name in names:
        number = _number(name)
        if number is not None:
            block = _block(name, executable=executable, scratch=scratch)
            code += [(_JEQ, 0, len(block), number), *block]
    return [*code, _ret(_EPERM)]


def start_program(*, scratch: bool) -> list[Instruction]:
    """Return stage 1. `scratch`: the guest has folders of its own, and what lies outside them is read-only."""
    names = (*_TABLE, *_SCRATCH, *_ANSWERED) if scratch else tuple(_TABLE)
    return program(names, executable=True, scratch=scratch)


def lock_program() -> list[Instruction]:
    """Return stage 2."""
    return program(_LOCK, executable=False)


def filter_hash(*, scratch: bool) -> str:
    """Return the name of both filters as installed, without the process id in them; part of every receipt."""
    more = (sorted(_SCRATCH.items()), sorted(_ANSWERED.items()), _ASK_LOCKS, _TAKE_LOCKS) if scratch else ()
    text = repr((sorted(_TABLE.items()), more, _CHECKED, _LOCK, _IOCTLS, _PRCTLS, _FCNTLS, kernel.MACHINE))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def install(code: list[Instruction]) -> None:
    """Install on every thread of this process (TSYNC); no_new_privs must be set. Raises OSError."""
    raw = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    header = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(buffer)))
    result = kernel.syscall(_number("seccomp") or 0, 1, 1, header)
    if result != 0:
        raise OSError(result, "a thread could not take the filter")
