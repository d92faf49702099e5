"""A background process that sees a home's unfinished jobs through after the command that submitted them has ended.

Only its owner's process releases a job's keys, so somebody of the owner's has to stay. It ends by itself when nothing is
left to do, and at `propolis down`. One per home.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from propolis.owner.control import Lock
from propolis.owner.sharing import Sharing
from propolis.runtime.signals import ends_on_signal
from propolis.terms.errors import PropolisError
from propolis.terms.text import one_line

LOCK = "keeper.lock"
LOOK_SECONDS = 1.0
IDLE_LOOKS = 5
CONNECT_SECONDS = 30.0
GIVE_UP_SECONDS = 24 * 3600.0  # a fleet unreached for a day: the next command takes its jobs up again


def start(home: Path) -> None:
    """Start a keeper for an owner's folder; a second one ends at once."""
    descriptor = os.open(home / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "propolis.owner.keeper", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )


def pid_of(home: Path) -> int:
    """Return the keeper's process id, 0 when there is none."""
    lock = Lock(home / LOCK)
    if not (home / LOCK).exists() or lock.take():
        lock.release()
        return 0
    with contextlib.suppress(OSError, ValueError):
        return int((home / LOCK).read_text())
    return 0


def end(home: Path) -> bool:
    """End the keeper; returns whether there was one."""
    pid = pid_of(home)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return True


async def keep(home: Path) -> None:
    """Stay as long as a job of the home has not ended."""
    sharing = Sharing(home)
    quiet, reached = 0, time.monotonic()
    while quiet < IDLE_LOOKS and time.monotonic() - reached < GIVE_UP_SECONDS:
        try:
            await sharing.open(CONNECT_SECONDS)
            reached = time.monotonic()
            quiet = 0 if await sharing.busy() else quiet + 1
        except PropolisError as error:
            sys.stderr.write(one_line(f"{error.code}: {error}") + "\n")
        await asyncio.sleep(LOOK_SECONDS)
    await sharing.close()


def main() -> None:
    """Run until nothing is left to do."""
    parser = argparse.ArgumentParser(prog="propolis.owner.keeper")
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    lock = Lock(home / LOCK)
    if not lock.take():
        return
    loop = asyncio.new_event_loop()
    task = loop.create_task(keep(home))
    ends_on_signal(task)
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


if __name__ == "__main__":
    main()
