"""Carries a plan out: files in one thread, each command and call in its own, all within one bound. Judges nothing.

Nothing is written, no network is used, no root is needed; root only sees more. What does not answer is recorded as late and
left behind: a thread that hangs in the kernel cannot be ended, so it is one of ours that nobody waits for.
"""

import os
import platform
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from propolis.adapters.probe import asking
from propolis.adapters.probe.plan import Plan
from propolis.terms.recording import MOST_KEYS, Outcome, Recording, Seen

LATE = Seen(outcome=Outcome.LATE)
A = TypeVar("A")


class Recorder:
    """A probe that carries out one plan."""

    def __init__(self, plan: Plan, *, system: str = "", machine: str = "") -> None:
        """`system`, `machine`: default this one's."""
        self._plan = plan
        self._system = system or platform.system().lower()
        self._machine = machine or platform.machine().lower()

    def record(self) -> Recording:
        """Return what is seen now; see `Probe`."""
        plan, answers = self._plan, _Answers()
        for command in plan.commands:
            answers.ask(command.name, asking.run, command)
        for name, call in plan.calls.items():
            answers.ask(f"call:{name}", asking.called, call)
        answers.begin(lambda: asking.files(plan, answers.put))
        return Recording(
            system=self._system,
            machine=self._machine,
            taken=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            root=hasattr(os, "geteuid") and os.geteuid() == 0,
            seen=answers.within(plan.seconds),
        )


class _Answers:
    """Answers as they come in; after `within` none is taken any more."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._seen: dict[str, Seen] = {}
        self._open = 0
        self._closed = False

    def ask(self, key: str, how: Callable[[A], Seen], what: A) -> None:
        """Begin a question that may be late."""
        self.put(key, LATE)
        self.begin(lambda: self.put(key, how(what)))

    def begin(self, work: Callable[[], None]) -> None:
        """Do work in a thread of its own."""
        with self._lock:
            self._open += 1
        threading.Thread(target=self._do, args=(work,), daemon=True).start()

    def put(self, key: str, seen: Seen) -> None:
        """Keep an answer."""
        with self._lock:
            if not self._closed and (key in self._seen or len(self._seen) < MOST_KEYS):
                self._seen[key] = seen

    def within(self, seconds: float) -> dict[str, Seen]:
        """Return what came within the bound."""
        end = time.monotonic() + seconds
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, timeout=max(0.0, end - time.monotonic()))
            self._closed = True
            return dict(self._seen)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._open -= 1
                self._lock.notify_all()
