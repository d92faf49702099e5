"""What owners say to the dispatcher: submit, upload, release keys, take or reject results, stop."""

import msgspec

from propolis.decisions import admission
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.envelope import Segment
from propolis.ports.store import Drop, DropPrefix, Put, Write
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs import ledger
from propolis.protocols.jobs.book import INPUTS, JOBS, OUTPUTS, RESULTS, Guest, Job, Phase, task_key
from propolis.protocols.jobs.desk import Desk
from propolis.protocols.machine import FromStore
from propolis.terms.contact import Contact
from propolis.terms.errors import RequirementUnmet, StoreFull
from propolis.terms.identity import GuestId, NodeId
from propolis.terms.job import MAX_TASK_BYTES, JobSpec, JobState
from propolis.terms.time import Instant

DENIED = "its owner releases no key to it: "


def submit(desk: Desk, owner: NodeId, spec: JobSpec, now: Instant) -> None:
    """Keep a new job, refuse one that can never run, or bring a reconnected owner up to date."""
    known = desk.jobs.get(spec.id)
    if known is not None:
        if known.owner != owner or known.spec != spec:
            desk.say(owner, say.Refused(job=spec.job, code=RequirementUnmet.code, reason="another job has this id"))
        else:
            resync(desk, known, now)
        return
    if desk.disk_full:
        desk.say(owner, say.Refused(job=spec.job, code=StoreFull.code, reason="the orchestrator's disk is full"))
        return
    if any(job.owner != owner and job.spec.program.id == spec.program.id for job in desk.jobs.values()):
        reason = "its program belongs to a job of another owner"
        desk.say(owner, say.Refused(job=spec.job, code=RequirementUnmet.code, reason=reason))
        return
    reasons = admission.never(spec, desk.known.table) + _over_quota(desk, owner, spec)
    job = Job(spec, owner, now)
    if reasons:
        job.state, job.reason = JobState.REFUSED, "; ".join(reasons)[:900]
        desk.say(owner, say.Refused(job=spec.job, code=RequirementUnmet.code, reason=job.reason))
    desk.jobs[job.id] = job
    desk.note(job, now, f"accepted: {spec.kind} of {spec.tasks} tasks" if job.live else f"refused: {job.reason}")
    desk.write(Put(JOBS, job.id, codec.encode(job.kept())))
    if job.live:
        resync(desk, job, now)


def _over_quota(desk: Desk, owner: NodeId, spec: JobSpec) -> list[str]:
    """Make room among the owner's ended jobs, oldest first; say so when there is not enough."""
    mine = [job for job in desk.jobs.values() if job.owner == owner]
    tasks = spec.tasks
    count, held = len(mine), sum(job.spec.tasks for job in mine)
    most, most_tasks = desk.config.max_jobs_per_owner, desk.config.max_tasks_per_owner
    for job in mine:
        if count < most and held + tasks <= most_tasks:
            break
        if not job.live and not job.untaken:
            forget(desk, job)
            count, held = count - 1, held - job.spec.tasks
    coming = [subject for subject in desk.work.values() if isinstance(subject, Job) and subject.owner == owner]
    kept = [job for job in mine if job.live or job.untaken]
    programs = {job.spec.program.id: job.spec.program.size for job in (*kept, *coming)}
    programs[spec.program.id] = spec.program.size
    if sum(programs.values()) > desk.config.max_program_bytes_per_owner:
        return [_quota("programs", desk.config.max_program_bytes_per_owner)]
    if count >= most:
        return [f"you have {count} unfinished jobs already"]
    return [f"you have {held} tasks in unfinished jobs already"] if held + tasks > most_tasks else []


def _quota(what: str, most: int) -> str:
    return f"your quota for {what}, {most >> 20} MiB, is used up: take results and let jobs end, then submit again"


def forget(desk: Desk, job: Job) -> None:
    """Drop everything kept of an ended job."""
    del desk.jobs[job.id]
    ledger.drop_inputs(desk, job, job.input_bytes)
    desk.write(Drop(JOBS, job.id), *(DropPrefix(table, job.id) for table in (INPUTS, RESULTS, OUTPUTS)))
    ledger.release(desk, job)


def resync(desk: Desk, job: Job, now: Instant) -> None:
    """Tell a (re)connected owner everything it may have missed."""
    desk.say(job.owner, say.Accepted(job=job.id), (job.stored.data(), job.finished.data()))
    fetch_program(desk, job)
    for guest in desk.guests_of(job):
        if guest.phase is Phase.OFFERED:
            want_grant(desk, job, guest)
    untaken = sorted(job.untaken.items())
    ledger.deliver(desk, job, ((kept, FromStore(OUTPUTS, task_key(job.id, i), kept.size)) for i, kept in untaken))
    ledger.progress(desk, job, now, at_once=True)
    desk.dirty = True


def fetch_program(desk: Desk, job: Job) -> None:
    """Ask the owner for the sealed program, once at a time."""
    if job.live and not job.has_program and not job.fetching and desk.now >= job.fetch_at:
        job.fetching = True
        holder = Contact(peer=job.owner, addresses=())
        desk.do(ev.FetchProgram(desk.ticket(job), job.spec.program, (holder,)))


def want_grant(desk: Desk, job: Job, guest: Guest) -> None:
    """Show the owner a guest's receipt (step 5)."""
    wanted = say.GrantWanted(job=job.id, receipt=guest.receipt, signature=guest.signature)
    desk.say(job.owner, wanted, guest.evidence)


def _no_room(desk: Desk, job: Job, reason: str, now: Instant) -> None:
    """A job that is still being uploaded ends where the disk or its owner's quota does, and gives back what it took."""
    desk.say(job.owner, say.Refused(job=job.id, code=StoreFull.code, reason=reason))
    ledger.end(desk, job, JobState.REFUSED, reason, now)


def put_inputs(desk: Desk, peer: NodeId, message: say.PutInputs, body: tuple[Segment, ...], now: Instant) -> None:
    """Store sealed inputs and say which are safe."""
    job = desk.owned(peer, message.job)
    if job is None or not job.live or len(body) != len(message.indices):
        return
    if desk.disk_full:
        _no_room(desk, job, "the orchestrator's disk is full", now)
        return
    most = desk.config.max_input_bytes_per_owner
    if desk.inputs[job.owner] + sum(map(len, body)) > most:
        _no_room(desk, job, _quota("inputs", most), now)
        return
    writes: list[Write] = []
    for index, sealed in zip(message.indices, body, strict=True):
        if index < job.spec.tasks and 0 < len(sealed) <= MAX_TASK_BYTES and job.stored.add(index):
            job.sizes[index] = len(sealed)
            job.input_bytes += len(sealed)
            desk.inputs[job.owner] += len(sealed)
            job.pending.append(index)
            writes.append(Put(INPUTS, task_key(job.id, index), sealed))
    desk.write(*writes)
    kept = tuple(index for index in message.indices if index < job.spec.tasks and index in job.stored)
    desk.say(peer, say.Stored(job=job.id, indices=kept))
    desk.dirty = desk.dirty or desk.wanted(job) > 0
    desk.feed_all(job)


def granted(desk: Desk, peer: NodeId, message: say.Grant | say.Denied, now: Instant) -> None:
    """Pass a sealed grant on, or close a guest that is denied the key (step 6)."""
    job, guest = desk.owned(peer, message.job), desk.guests.get(GuestId(message.guest))
    if job is None or guest is None or guest.job != job.id or guest.phase is not Phase.OFFERED:
        return
    if isinstance(message, say.Denied):
        job.barred.setdefault(guest.node, f"{DENIED}{message.reason}")  # what it did is worse than what it lacks
        desk.note(job, now, f"key denied to {guest.node[:4].hex()}: {message.reason}")
        desk.leaving[guest.id] = None
        return
    guest.phase, job.ungranted, guest.evidence = Phase.GRANTED, 0, ()
    desk.watch(guest)
    desk.say(guest.node, message)


def taken(desk: Desk, peer: NodeId, message: say.Taken) -> None:
    """Forget the bytes of results that are safe with their owner (step 8)."""
    job = desk.owned(peer, message.job)
    if job is None:
        return
    before = desk.outputs[peer]
    for index in message.indices:
        kept = job.untaken.pop(index, None)
        if kept is not None:
            desk.outputs[job.owner] -= kept.size
            ledger.drop_inputs(desk, job, job.sizes[index])
            key = task_key(job.id, index)
            done = msgspec.structs.replace(kept, taken=True)
            desk.write(Drop(OUTPUTS, key), Drop(INPUTS, key), Put(RESULTS, key, codec.encode(done)))
    ledger.release(desk, job)
    if desk.outputs[peer] <= desk.config.max_output_bytes_per_owner < before:
        desk.dirty = True
        for other in desk.jobs.values():
            if other.owner == peer and other.live:
                desk.feed_all(other)  # it may have waited for this room


def rejected(desk: Desk, peer: NodeId, message: say.Rejected, now: Instant) -> None:
    """Run a task again, elsewhere, because its result does not open (step 8)."""
    job = desk.owned(peer, message.job)
    kept = job.untaken.get(message.index) if job else None
    if job is None or kept is None or kept.item.attempt != message.attempt:
        return
    node = NodeId(kept.item.node)
    job.barred[node] = "it sent a result that does not open"
    desk.note(job, now, f"result {message.index} of {node[:4].hex()} does not open; it runs again elsewhere")
    revived = job.state in (JobState.DONE, JobState.FAILED) and job.finished.full
    del job.untaken[message.index]
    desk.outputs[job.owner] -= kept.size
    job.finished.remove(message.index)
    job.failed -= bool(kept.item.code)
    key = task_key(job.id, message.index)
    desk.write(Drop(RESULTS, key), Drop(OUTPUTS, key))
    desk.leaving.update(dict.fromkeys(guest.id for guest in desk.guests_of(job) if guest.node == node))
    if job.live or revived:
        job.pending.appendleft(message.index)
    if revived:
        job.state, job.reason = JobState.PENDING, ""
        desk.write(Put(JOBS, job.id, codec.encode(job.kept())))
    desk.dirty = True
    desk.feed_all(job)


def removed(desk: Desk, owner: NodeId, now: Instant) -> None:
    """An owner is no member any more: nothing of its jobs goes on, and what is kept of them goes."""
    desk.owners.discard(owner)
    for job in [job for job in desk.jobs.values() if job.owner == owner]:
        if job.live:
            ledger.end(desk, job, JobState.STOPPED, "its owner was removed from the fleet", now)
        desk.outputs[owner] -= sum(kept.size for kept in job.untaken.values())
        job.untaken.clear()
        ledger.drop_inputs(desk, job, job.input_bytes)  # of results it did not take, kept in case one does not open
        desk.write(*(DropPrefix(table, job.id) for table in (INPUTS, OUTPUTS, RESULTS)))
        ledger.release(desk, job)


def stop(desk: Desk, peer: NodeId, job_id: bytes, now: Instant) -> None:
    """End a job at its owner's word."""
    job = desk.owned(peer, job_id)
    if job is not None and job.live:
        ledger.end(desk, job, JobState.STOPPED, "stopped by its owner", now)
