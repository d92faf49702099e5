"""Where results go: checked before a job is submitted, written when it ended, whole or not at all."""

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from propolis.sdk import Job, writing
from propolis.terms.errors import DataError
from propolis.terms.job import Kind

ENDINGS = {Kind.INFERENCE: (".npz", ".safetensors", ".csv"), Kind.FUNCTION: (".json",)}


def check(output: Path | None, kind: Kind) -> None:
    """Raise DataError unless results of such a job can be written there; found by doing where it can be."""
    if output is None:
        return
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file")
    if output.suffix.lower() not in ENDINGS[kind]:
        wanted = ", ".join(ENDINGS[kind])
        what = "a model" if kind is Kind.INFERENCE else "a function"
        raise DataError(f"{output}: results of {what} are written as {wanted}")
    folder = output.absolute().parent
    if not folder.is_dir():
        raise DataError(f"{output} cannot be written: there is no folder {output.parent}")
    if output.exists() and not os.access(output, os.W_OK):
        raise DataError(f"{output} cannot be written: it is there, and not yours to change")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}") from error


def kept(job: Job, output: Path, *, force: bool) -> str:
    """Return why nothing is written for a job with results missing, or "" when it is."""
    missing = sum(outcome is None or not outcome.ok for outcome in job.outcomes())
    if missing and job.kind is Kind.INFERENCE:
        return f"nothing is written: {missing} of {job.tasks} tasks gave no result, and a model's outputs are whole"
    if missing and output.exists() and not force:
        return f"{output} stays as it was: {missing} of {job.tasks} results are missing; --force replaces it"
    return ""


def deliver(job: Job, output: Path) -> None:
    """Write a job's results; tasks of a function that raised or failed are null. Raises DataError, TaskRaised."""
    try:
        if job.kind is Kind.FUNCTION:
            text = json.dumps([plain(value) for value in job.partial()], allow_nan=False)
            with writing.replacing(output) as beside:
                beside.write_text(text + "\n", "utf-8")
        else:
            writing.write_arrays(output, job.arrays())
    except OSError as error:
        raise DataError(
            f"{output} cannot be written: {error.strerror}",
            hint=f"the results are kept: propolis fetch {job.id[:8]} -o FILE",
        ) from error


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, bytes as hex, NaN and infinities as text, complex as two numbers.

    JSON has no word for NaN, and null already says that a task gave no result.
    """
    match value:
        case np.ndarray():
            return plain(value.tolist())
        case bytes():
            return value.hex()
        case complex():
            return [plain(value.real), plain(value.imag)]
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value
