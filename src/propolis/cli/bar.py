"""A bar for what takes more than two seconds, on a terminal; nothing elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from propolis.cli.show import errors
from propolis.terms.text import one_line

PATIENCE = 2.0  # seconds without a word


class Bar:
    """Counts bytes, and shows them when it takes long. `total` None: nobody knows how many come."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._seen = what, total, 0
        self._since = time.monotonic()
        self._shown: Progress | None = None

    def add(self, size: int) -> None:
        """Count bytes."""
        self._seen += size
        if self._shown is None and errors.is_terminal and time.monotonic() - self._since > PATIENCE:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
            self._shown = Progress(
                *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=errors, transient=True
            )
            self._shown.add_task(one_line(self._what), total=self._total)
            self._shown.start()
        if self._shown is not None:
            self._shown.update(self._shown.task_ids[0], completed=self._seen)

    def over(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Pass parts on, and count them."""
        for part in parts:
            self.add(len(part))
            yield part

    def close(self) -> None:
        """Take it away; idempotent."""
        if self._shown is not None:
            self._shown.stop()


@contextmanager
def counted(what: str, total: int | None) -> Iterator[Bar]:
    """Show a bar meanwhile, if it takes long."""
    bar = Bar(what, total)
    try:
        yield bar
    finally:
        bar.close()
