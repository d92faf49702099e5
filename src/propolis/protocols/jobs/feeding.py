"""How much work a guest is given at a time: enough to keep it busy for a moment, so little that nobody waits for it."""

from collections.abc import Iterable

from propolis.messages import jobs as say
from propolis.protocols.jobs import faults, ledger
from propolis.protocols.jobs.book import INPUTS, Guest, Job, Phase, task_key
from propolis.protocols.jobs.desk import Alarm, Desk, DispatcherConfig
from propolis.protocols.machine import FromStore
from propolis.terms.identity import GuestId
from propolis.terms.job import MAX_HELD_BYTES, MAX_HELD_TASKS, JobState
from propolis.terms.time import Instant

FIRST_DEPTH = 2
SMOOTHING = 0.3
MOST_PASSED = 64


def feed(desk: Desk, job: Job, only: Iterable[GuestId] | None, now: Instant) -> None:
    """Give serving guests what they have room for: those of `only`, or all of the job."""
    if not job.live or _held(desk, job, now):  # what runs is still taken, nothing new begins
        return
    wanted = desk.guests_of(job) if only is None else [desk.guests[guest] for guest in only if guest in desk.guests]
    for guest in wanted:
        if guest.retiring and not guest.outstanding:
            desk.leaving[guest.id] = None
        elif _takes(desk, guest):
            indices = next_batch(desk, job, guest)
            if indices:
                _run(desk, job, guest, indices, now)
            elif not guest.outstanding and job.running and job.tail_due is None:
                job.tail_due = Instant(now + desk.config.tail_every)
                desk.alarm(job.tail_due, Alarm.TAIL, job.id)
    if job.state is JobState.PENDING and job.serving:
        job.state, job.reason = JobState.RUNNING, ""
        ledger.progress(desk, job, now)


def _held(desk: Desk, job: Job, now: Instant) -> bool:
    """Return whether nothing new of the job may begin; its owner is told why, and when that is over."""
    why = desk.held_back(job)
    if why != job.held:
        told, job.held = job.held, why
        if job.reason in ("", told):
            job.reason = why
        desk.note(job, now, f"waits: {why}" if why else "goes on: there is room again")
        ledger.progress(desk, job, now, at_once=True)
    return bool(why)


def _takes(desk: Desk, guest: Guest) -> bool:
    ready = guest.phase is Phase.SERVING and not guest.retiring and guest.id not in desk.leaving
    return ready and not desk.nodes[guest.node].suspect


def _run(desk: Desk, job: Job, guest: Guest, indices: list[int], now: Instant) -> None:
    attempts = tuple(desk.attempt() for _ in indices)
    if not guest.outstanding:
        guest.heard = now
    for index, attempt in zip(indices, attempts, strict=True):
        guest.outstanding[attempt] = index
        job.running[index] = attempt
    if guest.due is None:
        desk.watch(guest)
    again = job.lost.intersection(indices)
    if again:
        job.lost -= again
        desk.note(job, now, f"{len(again)} lost tasks run again on {desk.nodes[guest.node].report.name}")
    parts = tuple(FromStore(INPUTS, task_key(job.id, index), job.sizes[index]) for index in indices)
    desk.say(guest.node, say.RunTasks(job=job.id, guest=guest.id, indices=tuple(indices), attempts=attempts), parts)


def second(desk: Desk, job: Job, now: Instant) -> None:
    """At a job's end, run what takes far longer than usual in an idle guest of another node too; the first result counts."""
    if not job.live or not job.running or job.next_pending() is not None or desk.held_back(job):
        return
    guests = [g for g in desk.guests_of(job) if g.phase is Phase.SERVING]
    idle = [g for g in guests if not g.outstanding and _takes(desk, g)]
    if not idle:
        return
    patience = max(desk.config.tail_patience, desk.config.tail_factor * job.typical)
    for slow in guests if job.typical else ():
        if slow.outstanding and now - slow.heard > patience:
            _double(desk, job, slow, idle, now)
    if idle:
        desk.feed_all(job)


def _double(desk: Desk, job: Job, slow: Guest, idle: list[Guest], now: Instant) -> None:
    for attempt, index in list(slow.outstanding.items()):
        helper = next((guest for guest in idle if guest.node != slow.node), None)
        if helper is None:
            return
        if job.running.get(index) == attempt and index not in job.doubled and index not in job.blamed:
            idle.remove(helper)
            job.doubled.add(index)
            desk.note(job, now, f"task {index} takes long; it runs on {desk.nodes[helper.node].report.name} as well")
            _run(desk, job, helper, [index], now)


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
    earned = max(FIRST_DEPTH, 2 * guest.ended)  # whatever pace it tells, what it holds grows with what it finished
    return max(1, min(worth, share, earned, config.batch_tasks))


def next_batch(desk: Desk, job: Job, guest: Guest) -> list[int]:
    """Take the indices to send to the guest now; empty when it holds enough. A blamed task travels alone."""
    held = len(guest.outstanding)
    room = min(depth(job, guest, job.serving, desk.config), MAX_HELD_TASKS) - held
    if room <= 0 or (held and room * 2 < held):
        return []
    if held and any(index in job.blamed for index in guest.outstanding.values()):
        return []
    batch: list[int] = []
    passed: list[int] = []  # suspect tasks that must run on another node
    size, most = 0, MAX_HELD_BYTES - sum(job.sizes[index] for index in guest.outstanding.values())
    while len(batch) < room and len(passed) < MOST_PASSED:
        index = job.next_pending()
        if index is None or (batch and size + job.sizes[index] > desk.config.batch_bytes):
            break
        if size + job.sizes[index] > most:  # its node would end the session (step 7)
            break
        if index in job.blamed:
            if not faults.may_run(desk, job, guest.node, index):
                passed.append(job.pending.popleft())
                continue
            if not held and not batch:
                batch.append(job.pending.popleft())
            break
        batch.append(job.pending.popleft())
        size += job.sizes[index]
    job.pending.extendleft(reversed(passed))  # in front: lost work runs again first, on whoever may
    if passed and not batch and not held and faults.others(desk, job, job.blamed[passed[0]].alone):
        faults.rest(desk, job, guest)
    return batch
