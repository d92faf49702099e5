"""The private root of a guest: a small tmpfs with the runtime bound read-only, a work folder, and nothing of the machine."""

import functools
import os
import sys
from pathlib import Path

from propolis.adapters.executor.confine import kernel

WORK_BYTES = 64 * 1024 * 1024
WORK_INODES = 4096
STAGE = "/tmp"  # noqa: S108  only a mount point in a namespace of our own
_DEVICES = ("null", "zero", "full", "random", "urandom")


@functools.cache
def runtime_folders() -> list[str]:
    """Return the folders a guest's interpreter reads: system libraries, Python, its packages, this package.

    Asked once by the fork server, before any confinement: afterwards some may be out of sight.
    """
    package = Path(__file__).resolve().parents[3]
    wanted = ["/usr", sys.base_prefix, sys.prefix, str(package), *_package_folders()]
    real = sorted({os.path.realpath(folder) for folder in wanted if os.path.isdir(folder)}, key=len)
    kept: list[str] = []
    for folder in real:
        if folder != "/" and not any(folder == other or folder.startswith(other + "/") for other in kept):
            kept.append(folder)
    return kept


def _package_folders() -> list[str]:
    return [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def build(uid: int, gid: int) -> None:
    """Build the root in a fresh mount namespace and move into it. /proc is the host's until `finish`."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    folders = runtime_folders()
    root = f"{STAGE}"
    hidden = [folder for folder in folders if folder == STAGE or folder.startswith(STAGE + "/")]
    handles = {
        folder: os.open(folder, os.O_PATH | os.O_CLOEXEC) for folder in hidden
    }  # the tmpfs below would hide them
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=4m,mode=755")
    for name in ("job", "tmp"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC  # before the runtime, which may lie in /tmp
        kernel.mount("tmpfs", f"{root}/{name}", "tmpfs", flags, f"size={WORK_BYTES},nr_inodes={WORK_INODES},mode=711")
        os.chown(f"{root}/{name}", uid, gid)
    for folder in folders:
        source = f"/proc/self/fd/{handles[folder]}" if folder in handles else folder
        _bind(source, root + folder)
    for handle in handles.values():
        os.close(handle)
    _links(root)
    _files(root)
    _devices(root)
    os.makedirs(f"{root}/proc", exist_ok=True)
    kernel.mount("/proc", f"{root}/proc", None, kernel.MS_BIND | kernel.MS_REC)
    os.makedirs(f"{root}/old", exist_ok=True)
    kernel.pivot_root(root, f"{root}/old")
    os.chdir("/")
    kernel.umount("/old")
    os.rmdir("/old")


def finish() -> None:
    """As the first process of the new namespaces: a /proc of our own, and the root read-only from here on."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", flags | kernel.MS_RDONLY, "hidepid=2")
    kernel.mount(
        "none", "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    )
    os.chdir("/job")


def _bind(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(target)


def _links(root: str) -> None:
    for name in ("bin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}") and name != "bin":
            _bind(f"/{name}", f"{root}/{name}")


def _files(root: str) -> None:
    os.makedirs(f"{root}/etc", exist_ok=True)
    Path(f"{root}/etc/passwd").write_text("job:x:1000:1000::/job:/bin/false\n")
    Path(f"{root}/etc/group").write_text("job:x:1000:\n")
    if os.path.exists("/etc/ld.so.cache"):
        Path(f"{root}/etc/ld.so.cache").write_bytes(Path("/etc/ld.so.cache").read_bytes())


def _devices(root: str) -> None:
    os.makedirs(f"{root}/dev", exist_ok=True)
    for name in _DEVICES:
        Path(f"{root}/dev/{name}").touch()
        kernel.mount(f"/dev/{name}", f"{root}/dev/{name}", None, kernel.MS_BIND)
        kernel.make_read_only(f"{root}/dev/{name}", device=True)
