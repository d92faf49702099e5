"""`python -m propolis` is `propolis`. Ctrl-C in the first second, while everything is imported, ends it without a traceback."""

import os
import signal
from types import FrameType

INTERRUPTED = 130  # runtime/ending.py has it too, and is not imported yet


def quietly() -> None:
    """End at once on SIGINT, with nothing said; where it is ignored, as under nohup, it stays so."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def main() -> None:
    """Run the command line and exit."""
    quietly()
    from propolis.cli.main import main as run

    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        quietly()  # all is said: an impatient second Ctrl-C has nothing to interrupt but the interpreter's end


if __name__ == "__main__":
    main()
