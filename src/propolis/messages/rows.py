"""What the orchestrator tells people of jobs and nodes: the rows in an Answer's body (messages/jobs.py)."""

from typing import Annotated

import msgspec

from propolis.messages.jobs import Count, Reason, Tasks
from propolis.terms.capability import CapabilityReport, Text
from propolis.terms.credential import Credential
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import Id16, Id32
from propolis.terms.job import JobState, Kind

MAX_ROWS = 1000
MAX_REASONS = 16
MAX_EVENTS = 200


class _Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    pass


class JobRow(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One line of `propolis jobs`."""

    job: Id16
    name: Annotated[str, msgspec.Meta(max_length=100)]
    kind: Kind
    state: JobState
    privacy: Annotated[str, msgspec.Meta(max_length=40)]
    tasks: Tasks
    finished: Tasks
    failed: Tasks
    reason: Reason
    age: Annotated[float, msgspec.Meta(ge=0, le=1e12)]  # seconds since accepted, on the orchestrator's clock


class NodeRow(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One line of `propolis nodes`."""

    node: Id32
    report: CapabilityReport
    state: Annotated[str, msgspec.Meta(max_length=20)]  # "up", "suspect", "down"
    busy: Count
    address: Annotated[str, msgspec.Meta(max_length=200)]
    credential: Credential | None = None  # as the node showed it
    proven: Annotated[Proven, msgspec.Meta(max_length=8)] = NOTHING  # what the orchestrator concluded; its word
    unproven: Reason = ""  # why nothing is, beginning with the reason's code
    ek: Annotated[bytes, msgspec.Meta(max_length=100)] = b""  # Name of the endorsement key the node was shown to hold


class Verdict(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Why one node does or does not run a job."""

    node: Id32
    name: Text
    admitted: bool
    reasons: Annotated[tuple[Reason, ...], msgspec.Meta(max_length=MAX_REASONS)]


class Rows(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What an Answer carries in its body, encoded."""

    jobs: Annotated[tuple[JobRow, ...], msgspec.Meta(max_length=MAX_ROWS)] = ()
    nodes: Annotated[tuple[NodeRow, ...], msgspec.Meta(max_length=MAX_ROWS)] = ()
    verdicts: Annotated[tuple[Verdict, ...], msgspec.Meta(max_length=MAX_ROWS)] = ()
    events: Annotated[tuple[Reason, ...], msgspec.Meta(max_length=MAX_EVENTS)] = ()
