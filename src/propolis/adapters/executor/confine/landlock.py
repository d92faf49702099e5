"""Landlock: the kernel denies every file not listed. The ruleset is cut to what this kernel's ABI knows.

It is not a network sandbox (MPTCP and Fast Open pass its TCP rules), so it is never counted as one: seccomp has no sockets.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from propolis.adapters.executor.confine import kernel

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1, 2, 4, 8, 16, 32
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG = 64, 128, 256
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = _READ_FILE | _READ_DIR
LIST = _READ_DIR
RUN = READ | _EXECUTE
WORK = (
    READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE | _REFER
)  # moved between own folders
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def abi() -> int:
    """Return the kernel's Landlock ABI, 0 when there is none."""
    try:
        return kernel.syscall(_CREATE, None, 0, 1)
    except OSError:
        return 0


def _known(version: int) -> int:
    rights = (1 << 13) - 1
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        if version >= since:
            rights |= right
    return rights


def restrict(rules: Sequence[tuple[str, int]]) -> int:
    """Confine this thread to the rules; paths that do not exist are left out. Returns the ABI. Raises OSError."""
    version = abi()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    known = _known(version)
    fields = [known]
    if version >= 4:
        fields.append(3)  # TCP bind and connect: defence in depth only
    if version >= 6:
        fields.append(3)  # abstract sockets and signals to the outside
    attr = ctypes.create_string_buffer(struct.pack(f"={len(fields)}Q", *fields))
    ruleset = kernel.syscall(_CREATE, attr, 8 * len(fields), 0)
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & known)
        kernel.syscall(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_ONLY
        attr = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        kernel.syscall(_ADD, ruleset, 1, attr, 0)
    finally:
        os.close(descriptor)
