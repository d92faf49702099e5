"""The uids that guests of a privileged agent run as: a range no login uses and no other agent of this machine shares.

Two guests under one uid could signal each other without namespaces, and would count against each other's limit of tasks.
"""

import fcntl
import os
from pathlib import Path

from propolis.terms.errors import Unsupported

FIRST_UID = 1_900_000_000  # above what distributions hand to logins, containers and services
SLOTS = 4096
"""Uids in a range; the last is the canary's."""

RANGES = 256
FOLDER = Path("/run/propolis-slots")  # root's own; gone with the boot, as all guests are


class SlotRange:
    """One range, held until `release` or the end of this process by a lock on a file."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Take the first free range. Raises Unsupported."""
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self.first_uid = self._take(folder)
        except OSError as error:
            raise Unsupported(f"no range of uids for guests could be taken: {error}") from error

    def _take(self, folder: Path) -> int:
        for number in range(RANGES):
            self._lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                continue
            return FIRST_UID + number * SLOTS
        raise Unsupported(f"{RANGES} agents already run on this machine")

    def uid(self, slot: int) -> int:
        """Return the uid of a slot. Raises Unsupported for one that is another range's."""
        if not 0 <= slot < SLOTS:
            raise Unsupported(f"slot {slot} is out of range")
        return self.first_uid + slot

    def release(self) -> None:
        """Give the range back; idempotent. Only once no guest is left."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
