"""A file that one process holds at a time; the system lets go of it when the process ends, however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from propolis.terms.errors import ConfigError, StoreError

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
POLL = 0.02  # seconds: no system tells without a thread of ours that a lock is free


@contextmanager
def held(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock meanwhile. Raises ConfigError when another process still has it after so many seconds."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        deadline = time.monotonic() + patience
        while not _take(descriptor):
            if time.monotonic() < deadline:
                time.sleep(POLL)
                continue
            raise ConfigError(
                f"another process writes to the vault {path.parent}", hint="wait until it ends, then try again"
            )
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock, how = msvcrt.locking, msvcrt.LK_NBLCK  # type: ignore[attr-defined,unused-ignore]
        try:
            lock(descriptor, how, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
