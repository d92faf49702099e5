"""How much work a guest is given at a time: enough to keep it busy for a moment, so little that nobody waits for it."""

from collections.abc import Iterable

from propolis.messages import jobs as say
from propolis.protocols.jobs import ledger
from propolis.protocols.jobs.book import INPUTS, Guest, Job, Phase, task_key
from propolis.protocols.jobs.desk import Desk, DispatcherConfig
from propolis.protocols.machine import FromStore
from propolis.terms.identity import GuestId
from propolis.terms.job import JobState
from propolis.terms.time import Instant

FIRST_DEPTH = 2
SMOOTHING = 0.3


def feed(desk: Desk, job: Job, only: Iterable[GuestId] | None, now: Instant) -> None:
    """Give serving guests what they have room for: those of `only`, or all of the job."""
    if not job.live:
        return
    wanted = desk.guests_of(job) if only is None else [desk.guests[guest] for guest in only if guest in desk.guests]
    for guest in wanted:
        if guest.phase is Phase.SERVING and guest.id not in desk.leaving and not desk.nodes[guest.node].suspect:
            indices = next_batch(job, guest, job.serving, desk.config)
            if indices:
                _run(desk, job, guest, indices, now)
    if job.state is JobState.PENDING and job.serving:
        job.state, job.reason = JobState.RUNNING, ""
        ledger.progress(desk, job, now)


def _run(desk: Desk, job: Job, guest: Guest, indices: list[int], now: Instant) -> None:
    attempts = tuple(desk.attempt() for _ in indices)
    for index, attempt in zip(indices, attempts, strict=True):
        guest.outstanding[attempt] = index
        job.running[index] = attempt
    again = job.lost.intersection(indices)
    if again:
        job.lost -= again
        desk.note(job, now, f"{len(again)} lost tasks run again on {desk.nodes[guest.node].report.name}")
    parts = tuple(FromStore(INPUTS, task_key(job.id, index), job.sizes[index]) for index in indices)
    desk.say(guest.node, say.RunTasks(job=job.id, guest=guest.id, indices=tuple(indices), attempts=attempts), parts)


def smoothed(pace: float, sample: float) -> float:
    """Return the new milliseconds per task; samples are self-told, so they are clamped, and steer batch size only."""
    sample = min(max(sample, 0.001), 3_600_000.0) if sample == sample else 1.0
    return sample if pace == 0.0 else pace + SMOOTHING * (sample - pace)


def depth(job: Job, guest: Guest, serving: int, config: DispatcherConfig) -> int:
    """Return how many tasks the guest may hold: a time's worth, and no more than its fair share of what is left."""
    if guest.pace == 0.0:
        return FIRST_DEPTH
    worth = int(config.target_ms / guest.pace)
    share = -(-(len(job.pending) + len(job.running)) // max(1, serving))
    return max(1, min(worth, share, config.batch_tasks))


def next_batch(job: Job, guest: Guest, serving: int, config: DispatcherConfig) -> list[int]:
    """Take the indices to send to the guest now; empty when it holds enough. A blamed task travels alone."""
    held = len(guest.outstanding)
    room = depth(job, guest, serving, config) - held
    if room <= 0 or (held and room * 2 < held):
        return []
    if held and any(index in job.blamed for index in guest.outstanding.values()):
        return []
    batch: list[int] = []
    size = 0
    while len(batch) < room:
        index = job.next_pending()
        if index is None or (batch and size + job.sizes[index] > config.batch_bytes):
            break
        if index in job.blamed:
            if not held and not batch:
                batch.append(job.pending.popleft())
            break
        batch.append(job.pending.popleft())
        size += job.sizes[index]
    return batch
