"""One job as its owner holds it: wait for it, read its results, its prints, and who ran it."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from propolis.messages import values
from propolis.messages.jobs import Progress, TaskResult
from propolis.owner.live import ENDED, Live
from propolis.sdk import answers
from propolis.terms.errors import Crashed, DataError, Overran, RequirementUnmet, TaskRaised
from propolis.terms.job import Kind

Array = npt.NDArray[Any]
LAST_WORD_SECONDS = 1.0
_CODES = {Overran.code: Overran, Crashed.code: Crashed}


class Waits(Protocol):
    """The part of a fleet that a job needs."""

    def pause(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`."""
        ...


class Job:
    """A job in a fleet."""

    def __init__(self, fleet: Waits, live: Live) -> None:
        self._fleet = fleet
        self._live = live

    @property
    def id(self) -> str:
        """The job's id in hex; any unambiguous beginning of it names the job."""
        return self._live.spec.job.hex()

    @property
    def name(self) -> str:
        """The job's name."""
        return self._live.spec.name

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return self._live.spec.tasks

    @property
    def finished(self) -> int:
        """How many results are here."""
        return len(self._live.outcomes)

    @property
    def progress(self) -> Progress | None:
        """What the orchestrator last said."""
        return self._live.progress

    @property
    def kind(self) -> Kind:
        """Whether it runs a model or a function."""
        return self._live.spec.kind

    @property
    def raised(self) -> int:
        """How many finished tasks raised: the function's own doing, told to its owner alone."""
        return sum(outcome is not None and not outcome.ok for _, outcome in self._live.outcomes.values())

    def first_raised(self) -> tuple[int, str]:
        """Return the first task that raised and the last line of what it raised; (-1, "") when none did."""
        for index, outcome in enumerate(self.outcomes()):
            if outcome is not None and not outcome.ok:
                return index, (outcome.error.strip().splitlines() or ["no word"])[-1]
        return -1, ""

    def partial(self) -> list[Any]:
        """Return results in input order, None where a task raised, failed or has not finished."""
        outcomes = self.outcomes()
        return [values.decode(outcome.value) if outcome is not None and outcome.ok else None for outcome in outcomes]

    def state(self) -> str:
        """Return pending, running, done, failed, stopped or refused."""
        return self._live.state()

    def reason(self) -> str:
        """Return why it waits, failed or was refused."""
        if self._live.refused is not None and not self._live.complete:
            return self._live.refused.reason
        told = self._live.progress.reason if self._live.progress is not None else ""
        return told or (self._fault() if self.state() == "failed" else "")

    def _fault(self) -> str:
        """Return what the results themselves say of a failure: the orchestrator's word is not kept here."""
        failed = [item for item, outcome in self._live.outcomes.values() if outcome is None]
        if not failed:
            return f"the fleet gave it up; {self.finished} of {self.tasks} results are here"
        first = min(failed, key=lambda item: item.index)
        return f"{len(failed)} of {self.tasks} tasks failed; the first is task {first.index}: {first.code}"

    def wait(self, timeout: float | None = None, on_progress: Callable[["Job"], None] | None = None) -> str:
        """Return the final state, or the present one when `timeout` seconds pass. Calls `on_progress` as it moves."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.state() not in ENDED:
            left = 0.5 if until is None else min(0.5, until - time.monotonic())
            if left <= 0:
                break
            self._fleet.pause(left)
            if on_progress is not None:
                on_progress(self)
        self._last_word()
        if on_progress is not None:
            on_progress(self)
        return self.state()

    def _last_word(self) -> None:
        """The last result of a failed job may come before the orchestrator's word on why: give it a moment."""
        until = time.monotonic() + LAST_WORD_SECONDS
        while self._live.progress is not None and self.state() == "failed" and not self._live.progress.reason:
            if time.monotonic() > until:
                return
            self._fleet.pause(0.1)

    def outcomes(self) -> list[values.Outcome | None]:
        """Return each task's outcome in order; None where there is none (yet)."""
        return [self._live.outcomes.get(index, (None, None))[1] for index in range(self.tasks)]

    def results(self) -> "list[Any] | Array | dict[str, Array]":
        """Return results in input order: a list for functions; for models arrays, or one where one array went in.

        Raises RequirementUnmet (refused), TaskRaised (the function raised), Overran or Crashed (a task failed for good).
        """
        if self.kind is Kind.FUNCTION:
            return self.values()
        joined = self.arrays()
        return next(iter(joined.values())) if self._live.single and len(joined) == 1 else joined

    def values(self) -> list[Any]:
        """Return what each task gave, in input order. Raises as `results` does."""
        if self._live.refused is not None and not self._live.complete:
            raise RequirementUnmet(self._live.refused.reason)
        return [self._value(index) for index in range(self.tasks)]

    def arrays(self) -> dict[str, Array]:
        """Return a model's outputs by name. Raises as `results` does, and DataError for a job of a function."""
        if self.kind is Kind.FUNCTION:
            raise DataError("a function's results are values, not arrays: results()")
        return answers.join(self.values())

    def _value(self, index: int) -> Any:
        pair = self._live.outcomes.get(index)
        if pair is None and self.state() == "failed":
            raise Crashed(f"task {index} has no result: {self.reason()}")
        if pair is None:
            raise RequirementUnmet(f"task {index} has no result yet: {self.state()} {self.reason()}")
        item, outcome = pair
        if outcome is None:
            raise _CODES.get(item.code, Crashed)(f"task {index} failed for good: {self.reason() or item.code}")
        if not outcome.ok:
            raise TaskRaised(f"task {index} raised:\n{outcome.error}")
        return values.decode(outcome.value)

    def logs(self) -> list[tuple[int, str]]:
        """Return what each task printed, and what it raised; opened here, never seen by the fleet."""
        lines: list[tuple[int, str]] = []
        for index, outcome in enumerate(self.outcomes()):
            if outcome is not None and (outcome.printed or outcome.error):
                lines.append((index, outcome.printed + outcome.error))
        return lines

    def ran(self) -> list[TaskResult]:
        """Return which guest on which node ran each finished task."""
        return [item for item, _ in self._live.outcomes.values()]
