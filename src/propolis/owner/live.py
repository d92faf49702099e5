"""What a session knows of jobs, and the session's own contract: one home, held by one process, used by many."""

import time
from typing import Protocol

import msgspec

from propolis.messages import values
from propolis.messages.jobs import Progress, Refused, TaskResult
from propolis.messages.membership import Role
from propolis.messages.program import Program
from propolis.messages.rows import Rows
from propolis.terms.credential import Credential
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import Granted, JobSpec, JobState, Kind
from propolis.terms.policy import PolicyOrder

ENDED = (JobState.DONE, JobState.FAILED, JobState.STOPPED, JobState.REFUSED)
LAST_RESULTS_SECONDS = 30.0
"""A failed job's results may still be on their way; without another one for this long, no more come."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A job before it is sealed: `spec.program` is still empty."""

    spec: JobSpec
    program: Program
    bare_array: bool = False  # inference over one array: give one array back


class Live:
    """What this process knows of one job."""

    def __init__(self, spec: JobSpec, *, bare_array: bool) -> None:
        self.spec = spec
        self.bare_array = bare_array
        self.outcomes: dict[int, tuple[TaskResult, values.Outcome | None]] = {}  # in the order of arrival
        self.progress: Progress | None = None
        self.refused: Refused | None = None
        self._waited = (-1, 0.0)  # how many results were here when one last came after the job failed, and when

    @property
    def complete(self) -> bool:
        """Whether every task has its result here."""
        return len(self.outcomes) == self.spec.tasks

    @property
    def single(self) -> bool:
        """Whether the result is one array, as the input was."""
        return self.bare_array and self.spec.kind is Kind.INFERENCE

    def _given_up(self) -> bool:
        """Whether the fleet calls the job failed and the results it says it has are here, or stopped coming."""
        told = self.progress
        if told is None or told.state is not JobState.FAILED:
            return False
        if self._waited[0] != len(self.outcomes):
            self._waited = (len(self.outcomes), time.monotonic())
        return told.finished <= len(self.outcomes) or time.monotonic() - self._waited[1] > LAST_RESULTS_SECONDS

    def state(self) -> JobState:
        """Return where the job stands from its owner's view."""
        if self.complete:  # what is here was opened here; no later word takes it away
            return JobState.FAILED if any(outcome is None for _, outcome in self.outcomes.values()) else JobState.DONE
        if self.refused is not None:
            return JobState.REFUSED
        if self._given_up():
            return JobState.FAILED
        if self.progress is not None and self.progress.state not in (JobState.DONE, JobState.FAILED):
            return self.progress.state
        return JobState.RUNNING if self.progress is not None else JobState.PENDING


class Session(Protocol):
    """One owner's session with its fleet. Every call raises PeerUnreachable when the other side is gone."""

    async def submit(self, draft: Draft, inputs: list[bytes]) -> Live:
        """Seal and keep a job, then ask the fleet for it. Raises StoreFull."""
        ...

    async def jobs(self) -> list[JobId]:
        """Return the jobs this home knows."""
        ...

    async def reopen(self, job: JobId) -> Live:
        """Take up a known job. Raises UnknownJob."""
        ...

    async def granted(self, job: JobId) -> tuple[Granted, ...]:
        """Return what is kept of the guests that got a job's key, in the order they got it."""
        ...

    async def stop_job(self, job: JobId) -> None:
        """Ask for a job's end."""
        ...

    async def ask(self, what: str, job: bytes = b"") -> Rows:
        """Ask the orchestrator. Raises ConfigError with its reason."""
        ...

    async def invite(self, role: Role, seconds: float) -> str:
        """Return a fresh invitation, good for so long. Raises InvitationRefused."""
        ...

    async def remove(self, member: NodeId, shown: Credential | None) -> None:
        """Remove a member from the fleet; `shown`: the credential it shows. Raises InvitationRefused, TooLarge."""
        ...

    async def policy(self) -> PolicyOrder | None:
        """Return the fleet's appraisal policy as its operator signed it; None: the default."""
        ...

    async def set_policy(self, text: bytes) -> None:
        """Set the fleet's appraisal policy. Raises ConfigError, InvitationRefused."""
        ...

    async def busy(self) -> bool:
        """Return whether a job of this home has not ended."""
        ...

    async def changed(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`."""
        ...
