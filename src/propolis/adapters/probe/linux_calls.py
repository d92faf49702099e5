"""Linux's answers that are no files: system calls, ioctls, registers, devices under a mount. Each raises OSError when refused.

Sources: Documentation/userspace-api/landlock.rst; linux/tee.h (TEE_IOC_VERSION); TPM 2.0 Library Part 3, 30.2
(TPM2_GetCapability); drivers cpuid and msr (16 and 8 bytes at the leaf's or the register's number).
"""

import ctypes
import errno
import os
import shutil
import struct
from pathlib import Path

LANDLOCK_CREATE_RULESET, MEMFD_SECRET = 444, 447
LANDLOCK_VERSION = 1
TEE_IOC_VERSION = 0x8000_0000 | 12 << 16 | 0xA4 << 8
TPM_GET_PROPERTIES = struct.pack(
    ">HIIIII", 0x8001, 22, 0x17A, 6, 0x100, 64
)  # capability TPM_PROPERTIES from PT_FIXED on
TPM_WAIT = 0.5
FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO: the one the kernel begins with
MOST_LAYERS = 16


def _syscall(number: int, *words: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(word) for word in words])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def landlock_abi() -> str:
    """Return the ABI version of Landlock."""
    return str(_syscall(LANDLOCK_CREATE_RULESET, 0, 0, LANDLOCK_VERSION))


def memfd_secret() -> str:
    """Make a secret memory file, and close it."""
    os.close(_syscall(MEMFD_SECRET, 0))
    return "made"


def pid_namespace() -> str:
    """Return "first" outside every container, "another" in a process namespace of one."""
    return "first" if os.readlink("/proc/self/ns/pid") == FIRST_PID_NAMESPACE else "another"


def tee_version(path: str) -> str:
    """Return implementation, its capabilities, generic capabilities of a TEE device."""
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        answer = fcntl.ioctl(file, TEE_IOC_VERSION, bytes(12))
    finally:
        os.close(file)
    return " ".join(str(word) for word in struct.unpack("<III", answer))


def tpm_properties(path: str = "/dev/tpmrm0") -> str:
    """Return the fixed properties of a TPM, one "NUMBER VALUE" per line. The device keeps several askers apart by itself."""
    import select

    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(file, TPM_GET_PROPERTIES)
        ready, _, _ = select.select([file], [], [], TPM_WAIT)
        if not ready:
            raise OSError(errno.ETIMEDOUT, "the TPM does not answer")
        answer = os.read(file, 4096)
    finally:
        os.close(file)
    return properties(answer)


def properties(answer: bytes) -> str:
    """Return the properties in a response to TPM_GET_PROPERTIES. Raises OSError (EIO) for anything else."""
    try:
        _, size, code, _, capability, count = struct.unpack_from(">HIIBII", answer)
        if (size, code, capability) != (len(answer), 0, 6) or count > 256:
            raise OSError(errno.EIO, "no list of properties")
        pairs = [struct.unpack_from(">II", answer, 19 + 8 * place) for place in range(count)]
    except struct.error as error:
        raise OSError(errno.EIO, str(error)) from error
    return "\n".join(f"{number:#x} {value:#x}" for number, value in pairs if not _tells_who(number))


def _tells_who(number: int) -> bool:
    """Return whether a property tells one machine from another; of the fixed ones none does, of the variable ones some may."""
    return number >= 0x200


def cpuid(leaf: int, sub: int = 0) -> str:
    """Return EAX EBX ECX EDX of a leaf, as root may read them."""
    return " ".join(f"{word:08x}" for word in struct.unpack("<IIII", _register("cpuid", leaf | sub << 32, 16)))


def msr(register: int) -> str:
    """Return a model-specific register, as root may read it."""
    return f"{struct.unpack('<Q', _register('msr', register, 8))[0]:016x}"


def _register(kind: str, place: int, size: int) -> bytes:
    file = os.open(f"/dev/cpu/0/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.pread(file, size, place)
    finally:
        os.close(file)
    if len(found) != size:
        raise OSError(errno.EIO, "cut")
    return found


def free_mb() -> str:
    """Return the free room where a user's files go, in MB."""
    return str(shutil.disk_usage(Path.home() if Path.home().exists() else Path("/")).free // 2**20)


def root_chain() -> str:
    """Return the layers under /: "fs KIND", then "dm PREFIX", "part -", "disk -", top first. No name, no UUID."""
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").split("\n"):
        before, _, after = line.partition(" - ")
        fields, source = before.split(" "), after.split(" ")
        if len(fields) > 4 and fields[4] == "/" and len(source) > 1:
            device = fields[2] if not fields[2].startswith("0:") else _number(source[1])
            return "\n".join([f"fs {source[0]}", *(_layers(device) if device else [])])
    raise FileNotFoundError(errno.ENOENT, "no mount on /")


def swap_chains() -> str:
    """Return the layers under each swap area, areas apart by an empty line."""
    areas = [
        line.split()[0] for line in Path("/proc/swaps").read_text("utf-8", "replace").split("\n")[1:] if line.split()
    ]
    chains = []
    for area in areas[:16]:
        status = os.stat(area)
        device = _number(area) or f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        chains.append("\n".join(["swap", *_layers(device)]))
    return "\n\n".join(chains)


def _number(path: str) -> str:
    """Return "major:minor" of a block device, or ""."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if status.st_rdev else ""


def _layers(device: str) -> list[str]:
    """Return the layers from a block device down, following the first of several."""
    found: list[str] = []
    place = Path("/sys/dev/block") / device
    while len(found) < MOST_LAYERS and place.exists():
        mapped = place / "dm" / "uuid"
        slaves = sorted((place / "slaves").iterdir()) if (place / "slaves").is_dir() else []
        if mapped.exists():
            found.append(f"dm {mapped.read_text('ascii', 'replace')[:11]}")
        else:
            found.append("part -" if (place / "partition").exists() else "raid -" if slaves else "disk -")
        if not slaves:
            if (place / "partition").exists():
                found.append("disk -")
            break
        place = slaves[0]
    return found
