"""Whose fault it was: strikes against nodes whose guests do not come to serve, and blame of tasks that guests die at."""

from collections.abc import Collection

from propolis.decisions import admission
from propolis.messages import jobs as say
from propolis.protocols.jobs import ledger
from propolis.protocols.jobs.book import Blame, Guest, Job, Strike
from propolis.protocols.jobs.desk import Alarm, Desk
from propolis.terms.errors import Overran
from propolis.terms.identity import AttemptId, NodeId
from propolis.terms.job import MAX_TASK_BYTES, JobState
from propolis.terms.time import Instant


def strike(desk: Desk, job: Job, guest: Guest, reason: str, now: Instant) -> None:
    """A guest did not serve: let its node rest for this job, longer each time, then bar it.

    Strikes outlive sessions and the guests that did serve; only time without a strike wears them off, and the time in
    which a silent guest was waited for is no such time.
    """
    kept = job.strikes.setdefault(guest.node, Strike(0, reason, now, now))
    worn = int(max(0.0, guest.born - kept.at) / desk.config.strike_decay)
    kept.count, kept.reason, kept.at = max(0, kept.count - worn) + 1, reason, now
    kept.until = Instant(now + desk.config.strike_rest * 2.0**kept.count)
    if kept.count >= desk.config.max_strikes:
        job.barred[guest.node] = f"{kept.count} guests did not serve: {reason}"
    desk.retry(kept.until)


def others(desk: Desk, job: Job, but: Collection[NodeId]) -> bool:
    """Return whether a node beside these may run the job."""
    return any(
        node.up
        and not node.suspect
        and node.id not in but
        and node.id not in job.barred
        and not admission.refusals(job.spec, node.report, node.proven, desk.known)
        for node in desk.nodes.values()
    )


def blame(desk: Desk, job: Job, guest: Guest, attempt: AttemptId, message: say.GuestGone, now: Instant) -> None:
    """A guest died at a task. Alone: a fault. Among others: suspect it, and run it alone from now on.

    One node's word fails no task: faults of `max_faults` nodes do, or as many where no further node is, with rests between.
    """
    index = guest.outstanding.get(attempt)
    if index is None or index in job.finished:
        return
    alone = index in job.blamed and len(guest.outstanding) == 1
    found = job.blamed.setdefault(index, Blame())
    found.nodes[guest.node] = found.nodes.get(guest.node, 0) + int(alone)
    if not alone:
        return
    faults = sum(found.nodes.values())
    found.rests_until = Instant(now + desk.config.strike_rest * 2.0 ** min(faults, 10))
    desk.alarm(found.rests_until, Alarm.FEED, job.id)
    if len(found.alone) >= desk.config.max_faults or (
        faults >= desk.config.max_faults and not others(desk, job, found.alone)
    ):
        _fail(desk, job, guest, (index, attempt), message.code, message.reason, now)


def unloaded(desk: Desk, job: Job, guest: Guest, message: say.GuestGone, now: Instant) -> None:
    """A guest ended while it loaded the program, and its node was struck for it.

    One node's word fails no job: `max_faults` nodes do, or as many times where no further node is, each after a rest; and none
    once the program gave results somewhere.
    """
    if not job.live or job.served:
        return
    last, count = job.unloaded.get(guest.node, (guest.born, 0))
    if guest.born >= last:  # else it was started with the one that failed before: not another try
        job.unloaded[guest.node] = (now, count + 1)
    times, most = sum(count for _, count in job.unloaded.values()), desk.config.max_faults
    tried = times >= most or all(node in job.barred for node in job.unloaded)
    if len(job.unloaded) < most and (not tried or others(desk, job, job.unloaded)):
        return
    where = f"{len(job.unloaded)} nodes" if len(job.unloaded) > 1 else "the one node that may run it"
    why = f"its program ends its guests while it loads, on {where}; the last one: {message.code}: {message.reason}"
    ledger.end(desk, job, JobState.FAILED, why[:500], now)


def _fail(
    desk: Desk, job: Job, guest: Guest, task: tuple[int, AttemptId], code: str, reason: str, now: Instant
) -> None:
    index, attempt = task
    guest.outstanding.pop(attempt, None)
    job.fault = f"{code}: {reason}"[:300]
    item = say.TaskResult(index=index, attempt=attempt, guest=guest.id, node=guest.node, code=code)
    ledger.finish(desk, job, [(item, b"")], now)


def may_run(desk: Desk, job: Job, node: NodeId, index: int) -> bool:
    """Return whether a suspect task may run on the node: not where it died alone, unless there is no other, after a rest."""
    found = job.blamed[index]
    if node not in found.alone:
        return True
    return desk.now >= found.rests_until and not others(desk, job, found.alone)


def refute(desk: Desk, job: Job, index: int, node: NodeId) -> None:
    """A task that guests died at ran to its end on this node: those it died on may have said so for nothing."""
    found = job.blamed.get(index)
    for blamer, alone in found.nodes.items() if found is not None else ():
        if blamer != node:
            job.refuted[blamer] += 3 if alone else 1
            if job.refuted[blamer] >= desk.config.max_refuted:
                bar(desk, job, blamer, "tasks that end its guests run elsewhere")


def oversized(desk: Desk, job: Job, guest: Guest, attempt: AttemptId, index: int, now: Instant) -> None:
    """A result is over the limit. One node's word bars that node; a second node's word makes it the task's fault."""
    why = f"a result is over {MAX_TASK_BYTES >> 20} MiB"
    if index in job.finished:
        return
    if job.oversized.setdefault(index, guest.node) != guest.node:
        _fail(desk, job, guest, (index, attempt), Overran.code, why, now)
        return
    desk.note(job, now, f"task {index} runs elsewhere: {why}, says {desk.nodes[guest.node].report.name}")
    if job.running.get(index) == attempt:
        del job.running[index]
        job.doubled.discard(index)
        job.pending.appendleft(index)
    bar(desk, job, guest.node, f"{why}, it says")


def bar(desk: Desk, job: Job, node: NodeId, why: str) -> None:
    """The node gets nothing more of this job."""
    job.barred[node] = why
    desk.leaving.update(dict.fromkeys(guest.id for guest in desk.guests_of(job) if guest.node == node))
    desk.dirty = True


def rest(desk: Desk, job: Job, guest: Guest) -> None:
    """What is left for this guest must run on another node: it makes room for one there."""
    kept = job.strikes.setdefault(guest.node, Strike(0, "", desk.now, desk.now))
    kept.reason, kept.until = "a task ended its guests and runs elsewhere", Instant(desk.now + 2.0)
    desk.retry(kept.until)
    desk.leaving[guest.id] = None
