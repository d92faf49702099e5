"""The ledger: a task is finished by its first accepted result and by no other; written first, then passed to the owner."""

from collections.abc import Iterable

from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.envelope import Segment
from propolis.ports.store import DropPrefix, Put, Write
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import INPUTS, JOBS, OUTPUTS, RESULTS, Job, KeptResult, task_key
from propolis.protocols.jobs.desk import Alarm, Desk
from propolis.protocols.machine import BodyPart
from propolis.terms.job import JobState
from propolis.terms.time import Instant


def finish(desk: Desk, job: Job, ended: Iterable[tuple[say.TaskResult, Segment]], now: Instant) -> None:
    """Take the results of tasks not finished yet."""
    if desk.spilled:
        _put_back(desk, job, [item.index for item, _ in ended], now)
        return
    fresh: list[tuple[KeptResult, BodyPart]] = []
    writes: list[Write] = []
    for item, sealed in ended:
        if not job.live or not job.finished.add(item.index):
            continue
        job.running.pop(item.index, None)
        job.blamed.pop(item.index, None)
        job.doubled.discard(item.index)
        job.failed += bool(item.code)
        kept = KeptResult(item=item, size=len(sealed))
        job.untaken[item.index] = kept
        desk.outputs[job.owner] += kept.size
        key = task_key(job.id, item.index)
        writes += (Put(RESULTS, key, codec.encode(kept)), Put(OUTPUTS, key, sealed))
        fresh.append((kept, sealed))
    desk.write(*writes)
    if job.owner in desk.owners:
        deliver(desk, job, fresh)
    if job.live and job.finished.full:
        state = JobState.FAILED if job.failed else JobState.DONE
        why = f"; the last one: {job.fault}" if job.fault else ""
        end(desk, job, state, f"{job.failed} of {job.spec.tasks} tasks failed{why}" if job.failed else "", now)
    elif fresh:
        progress(desk, job, now)


def _put_back(desk: Desk, job: Job, indices: list[int], now: Instant) -> None:
    """There is no room for these results: their tasks run again when there is."""
    again = [index for index in indices if job.live and index not in job.finished]
    for index in reversed(again):
        job.running.pop(index, None)
        job.doubled.discard(index)
        job.pending.appendleft(index)
    if again:
        desk.note(job, now, f"{len(again)} results are not kept, as the disk is full: their tasks run again")


def deliver(desk: Desk, job: Job, results: Iterable[tuple[KeptResult, BodyPart]]) -> None:
    """Say finished tasks to the owner, in messages of bounded count and size."""
    batch: list[tuple[KeptResult, BodyPart]] = []
    size = 0
    for kept, part in results:
        if batch and (len(batch) >= desk.config.result_batch or size + kept.size > desk.config.batch_bytes):
            _say(desk, job, batch)
            batch, size = [], 0
        batch.append((kept, part))
        size += kept.size
    if batch:
        _say(desk, job, batch)


def _say(desk: Desk, job: Job, batch: list[tuple[KeptResult, BodyPart]]) -> None:
    message = say.Results(job=job.id, items=tuple(kept.item for kept, _ in batch))
    desk.say(job.owner, message, tuple(part for _, part in batch))


def end(desk: Desk, job: Job, state: JobState, reason: str, now: Instant) -> None:
    """End a job: nothing of it runs on, its finished results stay."""
    job.state, job.reason = state, reason
    desk.note(job, now, f"{state}{': ' + reason if reason else ''}")
    desk.leaving.update(dict.fromkeys(sorted(job.guests)))
    job.running.clear()
    job.pending.clear()
    if not job.finished.full:
        desk.write(DropPrefix(INPUTS, job.id))  # what was not run will never be; first, so that a full disk has room
        drop_inputs(desk, job, job.input_bytes)
    desk.write(Put(JOBS, job.id, codec.encode(job.kept())))
    release(desk, job)
    progress(desk, job, now, at_once=True)
    desk.dirty = True


def drop_inputs(desk: Desk, job: Job, size: int) -> None:
    """Count inputs of these bytes as gone."""
    size = min(size, job.input_bytes)
    job.input_bytes -= size
    desk.inputs[job.owner] -= size


def release(desk: Desk, job: Job) -> None:
    """Forget the sealed program of an ended job once its owner took every result, unless another live job names it too."""
    if job.live or job.untaken:
        return
    others = (other for other in desk.jobs.values() if other.live or other.untaken)  # a rejected result revives a job
    if not any(other.spec.program.id == job.spec.program.id for other in others):
        desk.do(ev.DropProgram(job.spec.program))


def progress(desk: Desk, job: Job, now: Instant, *, at_once: bool = False) -> None:
    """Tell the owner where the job stands, at most every `progress_every` seconds."""
    if not at_once:
        if job.progress_due is None:
            job.progress_due = Instant(now + desk.config.progress_every)
            desk.alarm(job.progress_due, Alarm.PROGRESS, job.id)
        return
    job.progress_due = None
    if job.owner in desk.owners:
        desk.say(
            job.owner,
            say.Progress(
                job=job.id,
                state=job.state,
                finished=job.finished.count,
                running=len(job.running),
                guests=len(job.guests),
                nodes=len({guest.node for guest in desk.guests_of(job)}),
                reason=job.reason[:900],
            ),
        )
