"""Where results go: checked before a job is submitted, written when it ended."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from propolis.sdk import Job, tables
from propolis.terms.errors import DataError
from propolis.terms.job import Kind

ENDINGS = {Kind.INFERENCE: (".npz", ".safetensors", ".csv"), Kind.FUNCTION: (".json",)}


def check(output: Path | None, kind: Kind) -> None:
    """Raise DataError unless results of such a job can be written there."""
    if output is None:
        return
    if output.suffix.lower() not in ENDINGS[kind]:
        wanted = ", ".join(ENDINGS[kind])
        raise DataError(
            f"{output}: results of {'a model' if kind is Kind.INFERENCE else 'a function'} are written as {wanted}"
        )
    if output.is_dir():
        raise DataError(f"{output} is a folder; name a file")
    if not output.absolute().parent.is_dir():
        raise DataError(f"{output} cannot be written: there is no folder {output.parent}")


def deliver(job: Job, output: Path) -> None:
    """Write a job's results; tasks of a function that raised or failed are null. Raises DataError, TaskRaised."""
    try:
        if job.kind is Kind.FUNCTION:
            output.write_text(json.dumps([_plain(value) for value in job.partial()]) + "\n", "utf-8")
        else:
            results = job.results()
            tables.write_arrays(output, results if isinstance(results, dict) else {"output": results})
    except OSError as error:
        raise DataError(
            f"{output} cannot be written: {error}; the results are kept: propolis fetch {job.id[:8]} -o FILE"
        ) from error


def _plain(value: Any) -> Any:
    match value:
        case np.ndarray():
            return value.tolist()
        case bytes():
            return value.hex()
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
