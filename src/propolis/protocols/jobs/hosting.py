"""What nodes say to the dispatcher: guests that start, serve, finish tasks and end; nodes that come, go and resume."""

from propolis.crypto.identity import SIGNATURE_BYTES
from propolis.decisions import admission
from propolis.messages import jobs as say
from propolis.messages.attestation import MAX_EVIDENCE, MAX_EVIDENCE_WAITING
from propolis.messages.envelope import Segment
from propolis.protocols import session
from propolis.protocols.jobs import faults, feeding, intake, ledger
from propolis.protocols.jobs.book import Guest, Job, Node, Phase
from propolis.protocols.jobs.desk import Desk
from propolis.terms.errors import Crashed, Overran, SealBroken
from propolis.terms.identity import AttemptId, BlobId, GuestId, JobId, NodeId
from propolis.terms.job import MAX_TASK_BYTES
from propolis.terms.time import Instant

TASK_FAULTS = (Overran.code, Crashed.code, SealBroken.code)


def entered(desk: Desk, node: Node, now: Instant) -> None:
    """A node is in; what an earlier incarnation of it ran is gone until it says Resume."""
    if node.id in desk.nodes:
        lost(desk, node.id, now)
    desk.nodes[node.id] = node
    desk.dirty = True


def suspected(desk: Desk, node_id: NodeId, *, suspect: bool) -> None:
    """A node fell silent and gets nothing new, or was heard again and may be used at once."""
    node = desk.nodes.get(node_id)
    if node is None or not node.up:
        return
    node.suspect = suspect
    if not suspect:
        desk.dirty = True
        for job_id in sorted({desk.guests[guest].job for guest in node.guests}):
            desk.feed_all(desk.jobs[job_id])


def lost(desk: Desk, node_id: NodeId, now: Instant) -> None:
    """A node is gone: its tasks go elsewhere at once."""
    node = desk.nodes.get(node_id)
    if node is None or not node.up:
        return
    _part(desk, node, now)
    for guest_id in sorted(node.guests):
        guest = desk.guests[guest_id]
        job = desk.jobs[guest.job]
        desk.note(job, now, f"node {node.report.name} is lost; {len(guest.outstanding)} tasks go elsewhere")
        desk.drop(guest)
        ledger.progress(desk, job, now)
    node.up, node.suspect = False, False
    node.holds.clear()
    desk.dirty = True


def _part(desk: Desk, node: Node, now: Instant) -> None:
    """Keep what a lost node had: when it comes back in time, it may go on with that and with nothing else."""
    desk.parted = {k: kept for k, kept in desk.parted.items() if now < kept[0] + desk.config.resume_limit}
    had = dict(desk.parted.get(node.id, (now, {}))[1])
    for guest in node.guests:
        had.update(desk.guests[guest].outstanding)
    if had:
        desk.parted[node.id] = (now, had)


def removed(desk: Desk, node_id: NodeId, now: Instant) -> None:
    """A node is no member any more: its tasks go elsewhere at once, and nobody is told of it as a node."""
    lost(desk, node_id, now)
    desk.nodes.pop(node_id, None)


def proven(desk: Desk, told: session.NodeProven, now: Instant) -> None:
    """Something else is proven of a node than before: what rests on it goes on, begins, or ends at once (step 6b)."""
    node = desk.nodes.get(told.node)
    if node is None:
        return
    node.unproven, node.ek = told.reason, told.ek
    for job in desk.jobs.values():
        if told.proven and job.barred.get(node.id, "").startswith(intake.DENIED):
            del job.barred[node.id]  # its owner said no to what was proven then
            desk.dirty = True
    if node.proven == told.proven:
        return
    node.proven, desk.dirty = told.proven, True
    for guest_id in sorted(node.guests):
        guest = desk.guests[guest_id]
        job = desk.jobs[guest.job]
        lacking = admission.refusals(job.spec, node.report, node.proven, desk.known)
        if lacking:
            why = told.reason or "; ".join(lacking)
            desk.note(job, now, f"node {node.report.name} proves too little now: {why}; its tasks go elsewhere")
            desk.leaving[guest_id] = None


def resume(desk: Desk, peer: NodeId, message: say.Resume, body: tuple[Segment, ...] = ()) -> None:
    """Take back guests that outlived a session; close those nobody wants any more (step 9)."""
    node = desk.nodes.get(peer)
    if node is None:
        return
    unwanted: list[bytes] = []
    for held in message.guests:
        job = desk.jobs.get(JobId(held.job))
        if job is None or not _wanted(desk, node, job, held):
            unwanted.append(held.guest)
        else:
            _adopt(desk, node, job, held, body if len(message.guests) == 1 else ())
    if unwanted:
        desk.say(peer, say.CloseGuests(guests=tuple(unwanted)))
    desk.dirty = True


def _wanted(desk: Desk, node: Node, job: Job, held: say.HeldGuest) -> bool:
    """Return whether a guest that a node says it still has may go on: the same gates as for one we would open now."""
    if not job.live or GuestId(held.guest) in desk.guests or node.id in job.barred:
        return False
    if len(node.guests) >= 2 * node.report.slots or admission.refusals(job.spec, node.report, node.proven, desk.known):
        return False
    if not desk.resuming and node.id not in job.served and job.holds[node.id] >= desk.config.max_unserved:
        return False
    return _sound(desk, node, job, held) and (not held.receipt or len(held.signature) == SIGNATURE_BYTES)


def _sound(desk: Desk, node: Node, job: Job, held: say.HeldGuest) -> bool:
    """Return whether what a guest says it works at can be so: each task and attempt once, and of those its node was given."""
    if not len(held.indices) == len(held.attempts) == len(set(held.attempts)) == len(set(held.indices)):
        return False
    return all(
        index < job.spec.tasks
        and index in job.stored
        and (index in job.finished or desk.given(node.id, AttemptId(attempt), index))
        and job.running.get(index) != attempt  # another guest has it
        for index, attempt in zip(held.indices, held.attempts, strict=True)
    )


def holds(desk: Desk, peer: NodeId, program: BlobId) -> None:
    """A node keeps a program that one of our jobs uses."""
    if any(
        desk.guests[guest].job in desk.jobs and desk.jobs[desk.guests[guest].job].spec.program.id == program
        for guest in desk.nodes[peer].guests
    ):
        desk.nodes[peer].holds.add(program)


def _adopt(desk: Desk, node: Node, job: Job, held: say.HeldGuest, body: tuple[Segment, ...]) -> None:
    guest = desk.enrol(GuestId(held.guest), job, node)
    guest.receipt, guest.signature = held.receipt, held.signature
    guest.evidence = _evidence(desk, job, node, body) if not held.serving else ()
    guest.phase = Phase.SERVING if held.serving else (Phase.OFFERED if held.receipt else Phase.STARTING)
    job.serving += guest.phase is Phase.SERVING
    for index, attempt in zip(held.indices, held.attempts, strict=True):
        if index not in job.finished:
            guest.outstanding[AttemptId(attempt)] = index
            job.running.setdefault(index, AttemptId(attempt))
    desk.watch(guest)
    if guest.phase is Phase.OFFERED:
        intake.want_grant(desk, job, guest)
    desk.feed_all(job)


def _evidence(desk: Desk, job: Job, node: Node, body: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Return what is passed on of a guest's evidence; whoever sends too much, or unasked, passes none."""
    if job.spec.challenge is None or len(body) != 3 or sum(map(len, body)) > MAX_EVIDENCE:
        return ()
    kept = sum(len(part) for each in node.guests for part in desk.guests[each].evidence)
    if kept + sum(map(len, body)) > MAX_EVIDENCE_WAITING:  # owners that do not answer must not cost us all our memory
        return ()
    return tuple(map(bytes, body))


def moved(
    desk: Desk,
    peer: NodeId,
    message: say.GuestReady | say.GuestServing | say.GuestGone,
    body: tuple[Segment, ...],
    now: Instant,
) -> None:
    """A guest took a step in its life."""
    guest = desk.guests.get(GuestId(message.guest))
    if guest is None or guest.node != peer or guest.job != message.job:
        return
    job = desk.jobs[guest.job]
    match message:
        case say.GuestReady() if guest.phase is Phase.STARTING:
            guest.phase, guest.receipt, guest.signature = Phase.OFFERED, message.receipt, message.signature
            guest.evidence = _evidence(desk, job, desk.nodes[peer], body)
            desk.watch(guest)
            intake.want_grant(desk, job, guest)
        case say.GuestServing() if guest.phase is Phase.GRANTED:
            guest.phase = Phase.SERVING
            job.serving += 1
            desk.watch(guest)
            desk.note(job, now, f"guest {guest.id[:4].hex()} serves on {desk.nodes[peer].report.name}")
            desk.feed_one(guest)
            ledger.progress(desk, job, now)
        case say.GuestGone():
            _gone(desk, job, guest, message, now)
        case _:
            pass


def _gone(desk: Desk, job: Job, guest: Guest, message: say.GuestGone, now: Instant) -> None:
    name = desk.nodes[guest.node].report.name
    went = f"; {len(guest.outstanding)} tasks go elsewhere" if guest.outstanding else ""
    desk.note(job, now, f"guest {guest.id[:4].hex()} on {name} ended: {message.code} {message.reason[:500]}{went}")
    culprit = AttemptId(message.culprit) if message.culprit is not None else None
    if guest.phase is Phase.SERVING and message.code in TASK_FAULTS and culprit in guest.outstanding:
        faults.blame(desk, job, guest, culprit, message, now)
    elif guest.phase is not Phase.SERVING or not guest.ended:  # it took a key and gave nothing for it
        faults.strike(desk, job, guest, f"{message.code}: {message.reason}"[:300], now)
        if guest.phase is Phase.GRANTED and message.code in TASK_FAULTS:
            faults.unloaded(desk, job, guest, message, now)
    desk.drop(guest)


def tasks_ended(desk: Desk, peer: NodeId, message: say.TasksEnded, body: tuple[Segment, ...], now: Instant) -> None:
    """Sealed results arrived; only what was asked of this guest counts."""
    job, guest = desk.jobs.get(JobId(message.job)), desk.guests.get(GuestId(message.guest))
    count = len(message.indices)
    if job is None or guest is None or guest.node != peer or guest.job != job.id:
        return
    if not 0 < count == len(body) == len(message.attempts):
        return
    guest.pace = feeding.smoothed(guest.pace, message.milliseconds / count)
    ended: list[tuple[say.TaskResult, Segment]] = []
    for index, attempt, sealed in zip(message.indices, message.attempts, body, strict=True):
        if guest.outstanding.get(AttemptId(attempt)) != index:
            continue
        del guest.outstanding[AttemptId(attempt)]
        if len(sealed) > MAX_TASK_BYTES:
            faults.oversized(desk, job, guest, AttemptId(attempt), index, now)
            continue
        item = say.TaskResult(index=index, attempt=attempt, guest=guest.id, node=peer)
        faults.refute(desk, job, index, peer)
        ended.append((item, sealed))
    if ended:
        _progressed(desk, job, guest, len(ended), now)
    ledger.finish(desk, job, ended, now)
    desk.feed_one(guest)


def _progressed(desk: Desk, job: Job, guest: Guest, count: int, now: Instant) -> None:
    """A guest did what it was asked: the next result is waited for, and its node has earned its share of the job."""
    job.typical = feeding.smoothed(job.typical, (now - guest.heard) / count)
    guest.ended, guest.heard = guest.ended + count, now
    desk.watch(guest)
    if guest.node not in job.served:
        job.served.add(guest.node)
        desk.dirty = True
