"""A job before it is sealed: its inputs as bytes, one per task, and its draft; what is off is said before anything leaves."""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from propolis.decisions import admission, privacy
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.owner.live import Draft
from propolis.runtime.known import known_today
from propolis.sdk import models, tables
from propolis.terms.errors import DataError, MalformedMessage, RequirementUnmet
from propolis.terms.identity import JOB_ID_BYTES, JobId
from propolis.terms.job import MAX_TASK_BYTES, MAX_TASKS, BlobRef, JobSpec, Needs
from propolis.terms.requirement import Requirement

Array = npt.NDArray[Any]
Inputs = npt.ArrayLike | Mapping[str, npt.ArrayLike] | str | Path


def draft(
    program: Program,
    inputs: list[bytes],
    name: str,
    wanted: str | Requirement,
    needs: Needs,
    *,
    bare_array: bool = False,
) -> Draft:
    """Return the draft of a fresh job over these inputs. Raises DataError, RequirementUnmet."""
    if not 0 < len(inputs) <= MAX_TASKS:
        raise DataError(
            "there are no inputs: a job has at least one" if not inputs else f"over {MAX_TASKS} inputs in one job"
        )
    longest = max(map(len, inputs))
    if longest > MAX_TASK_BYTES - 64:
        raise DataError(
            f"one input takes {longest / 1e6:.1f} MB; at most {MAX_TASK_BYTES >> 20} MB: make tasks smaller"
        )
    job = JobId(secrets.token_bytes(JOB_ID_BYTES))
    spec = JobSpec(
        job=job,
        name=name[:100],
        kind=program.kind,
        tasks=len(inputs),
        program=BlobRef(blob=bytes(32), size=0),
        requirement=privacy.requirement_for(wanted),
        needs=needs,
    )
    try:
        codec.decode(codec.encode(spec), JobSpec)
    except MalformedMessage as error:
        raise DataError(f"what this job asks for is out of bounds: {error}") from error
    reasons = admission.never(spec, known_today().table)
    if reasons:
        raise RequirementUnmet(f"this job can never run: {'; '.join(reasons)}")
    return Draft(spec=spec, program=program, bare_array=bare_array)


def of_values(inputs: Iterable[Any]) -> list[bytes]:
    """Return a function's inputs, encoded, one per task. Raises DataError that names the input."""
    return [_encoded(number, value) for number, value in enumerate(_listed(inputs))]


def of_table(wanted: models.Signature, inputs: Inputs, rows_per_task: int | None) -> tuple[list[bytes], bool]:
    """Return a model's inputs, encoded, one per task; and whether one table went in, so that one array shall come out.

    Raises DataError.
    """
    given = tables.read_arrays(Path(inputs)) if isinstance(inputs, str | Path) else inputs
    given = given if isinstance(given, Mapping) else _array(given)
    bare = isinstance(given, tables.Table) or not isinstance(given, Mapping)
    cut = models.cut(models.prepare(wanted, given), rows_per_task, wanted.batch)
    return [values.encode(task) for task in cut], bare


def _array(given: npt.ArrayLike) -> Array:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise DataError(f"the rows do not make one array: {error}") from error


def _encoded(number: int, value: Any) -> bytes:
    try:
        return values.encode(value)
    except DataError as error:
        raise DataError(f"input {number}: {error}") from error


def _listed(inputs: Iterable[Any]) -> list[Any]:
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise DataError(
            f"inputs are a {type(inputs).__name__}; a list is wanted, one input per task",
            hint="put a single input into a list",
        )
    return list(inputs)
