"""How an agent is told to end: SIGTERM or SIGINT cancels its task, on every system."""

import asyncio
import signal
from typing import Any


def ends_on_signal(task: "asyncio.Task[Any]") -> None:
    """Cancel `task`, which belongs to the current loop or one not running yet, on SIGTERM and SIGINT."""
    loop = task.get_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, task.cancel)
        except NotImplementedError:  # Windows: the handler runs in the main thread, between two steps of the loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(task.cancel))
