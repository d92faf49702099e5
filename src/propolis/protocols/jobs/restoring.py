"""The dispatcher's desk as its store left it: jobs, inputs and results, and what is left to do of each."""

from propolis.messages import codec
from propolis.ports.store import Rows
from propolis.protocols.jobs.book import INPUTS, JOBS, RESULTS, Job, KeptJob, KeptResult
from propolis.protocols.jobs.desk import Desk
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import JobState
from propolis.terms.time import Instant


def restore(desk: Desk, rows: Rows, now: Instant) -> None:
    """Take what is stored and queue what is left. Raises MalformedMessage."""
    for _, value in rows.scan(JOBS):
        _job(desk, value, now)
    for key, size in rows.sizes(INPUTS):
        _input(desk, key, size)
    for key, value in rows.scan(RESULTS):
        _result(desk, key, value)
    for job in desk.jobs.values():
        if job.live:
            job.pending.extend(i for i in range(job.spec.tasks) if i in job.stored and i not in job.finished)


def _job(desk: Desk, value: bytes, now: Instant) -> None:
    kept: KeptJob = codec.decode(value, KeptJob)
    job = Job(kept.spec, NodeId(kept.owner), now)
    job.state = JobState.PENDING if kept.state is JobState.RUNNING else kept.state
    job.reason = kept.reason
    desk.jobs[job.id] = job


def _input(desk: Desk, key: bytes, size: int) -> None:
    job, index = desk.jobs.get(JobId(key[:16])), int.from_bytes(key[16:], "big")
    if job is not None and index < job.spec.tasks and job.stored.add(index):
        job.sizes[index] = size
        job.input_bytes += size
        desk.inputs[job.owner] += size


def _result(desk: Desk, key: bytes, value: bytes) -> None:
    job, index = desk.jobs.get(JobId(key[:16])), int.from_bytes(key[16:], "big")
    if job is None or index >= job.spec.tasks:
        return
    kept: KeptResult = codec.decode(value, KeptResult)
    job.finished.add(index)
    job.stored.add(index)
    job.failed += bool(kept.item.code)
    if not kept.taken:
        job.untaken[index] = kept
        desk.outputs[job.owner] += kept.size
