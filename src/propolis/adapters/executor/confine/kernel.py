"""Raw system calls by ctypes, with errno turned into OSError. Linux on x86_64 and aarch64."""

import ctypes
import os
import platform

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

MACHINE = platform.machine()

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 4, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_CHILD_SUBREAPER = 36

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
MNT_DETACH = 2


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *args: int | ctypes.c_void_p | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call by number."""
    return _checked(_libc.syscall(ctypes.c_long(number), *[_word(arg) for arg in args]), f"syscall {number}")


def _word(arg: object) -> object:
    return ctypes.c_long(arg) if isinstance(arg, int) else arg


def prctl(option: int, *args: int) -> int:
    """Call prctl."""
    words = [ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(ctypes.c_int(option), *words), f"prctl {option}")


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _checked(result, f"mount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace."""
    syscall({"x86_64": 155, "aarch64": 41}[MACHINE], ctypes.c_char_p(new.encode()), ctypes.c_char_p(old.encode()))  # type: ignore[arg-type]


def umount(target: str) -> None:
    """Detach a mount."""
    _checked(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), f"umount {target}")


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def make_read_only(target: str, *, device: bool = False) -> None:
    """Make a mount and all below it read-only, nosuid, nodev (mount_setattr, Linux 5.12); a device stays one, and writable:
    its inode is the host's, and only its mode and times are what read-only protects."""
    attr = _MountAttr(1 | 2 | (8 if device else 4), 0, 0, 0)
    at_recursive, at_fdcwd = 0x8000, -100
    path = ctypes.c_char_p(target.encode())
    syscall(442, at_fdcwd, path, at_recursive, ctypes.byref(attr), ctypes.sizeof(attr))  # type: ignore[arg-type]


def empty_bounding_set() -> None:
    """No program run later can gain a capability; nothing happens for who has no say over its own set."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break


def drop_capabilities() -> None:
    """Give up every capability, for ever: bounding, ambient, and the three sets."""
    empty_bounding_set()
    try:
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # kernels before 4.3 have no ambient set
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    empty = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, empty), "capset")
