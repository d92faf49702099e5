"""What a job may be told beside its program and inputs: the same words for submitting and for submitting and waiting."""

from collections.abc import Sequence
from typing import TypedDict

from propolis.terms.requirement import Requirement


class JobOptions(TypedDict, total=False):
    """For both kinds of work. memory_mb, task_seconds: the most one task needs."""

    privacy: str | Requirement
    name: str
    memory_mb: int
    task_seconds: float


class MapOptions(JobOptions, total=False):
    """For functions. `entry` names the function in source text; packages and python as in `Fleet.submit_map`."""

    entry: str
    packages: Sequence[str]
    python: str


class InferOptions(JobOptions, total=False):
    """For models."""

    rows_per_task: int | None
