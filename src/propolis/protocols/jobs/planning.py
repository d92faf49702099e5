"""Which node opens guests for which job: facts to a Problem, a solver's answer checked, then acted on while it holds."""

from propolis.decisions import placement
from propolis.messages import jobs as say
from propolis.protocols.jobs import answers, ledger, shares
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import Job, Node, Phase
from propolis.protocols.jobs.desk import Desk
from propolis.terms.contact import Contact
from propolis.terms.identity import GUEST_ID_BYTES, GuestId
from propolis.terms.job import JobState
from propolis.terms.placement import Placement, Problem
from propolis.terms.time import Instant

MAX_HOLDERS = 4
MAX_GUESTS = 256  # that one message names
NEXT_TURN = 0.1


def plan(desk: Desk, now: Instant) -> bool:
    """Ask the solver if there is anything to place. Returns whether a question is out."""
    waiting = [job for job in desk.jobs.values() if job.live]
    turn = _turn(desk, waiting)
    jobs = [job for job in turn if desk.wanted(job) > 0]
    asked = _ask(desk, jobs) if jobs else False
    up = answers.Up(desk)
    for job in turn:
        explain_wait(desk, job, up, now)
    if len(turn) < len(waiting):
        desk.retry(Instant(now + NEXT_TURN))
    return asked


def _turn(desk: Desk, waiting: list[Job]) -> list[Job]:
    """Return the jobs of this round: all, or as many as one round bears, in turn."""
    most = desk.config.max_planned_jobs
    if len(waiting) <= most:
        return waiting
    start = desk.planned % len(waiting)
    desk.planned += most
    return (waiting[start:] + waiting[:start])[:most]


def _ask(desk: Desk, jobs: list[Job]) -> bool:
    nodes = [node for node in desk.nodes.values() if node.up and not node.suspect]
    if not any(node.free for node in nodes):
        _free_idle(desk)
    usable = {job.id: shares.usable(desk, job, nodes) for job in jobs}
    jobs = [job for job in jobs if usable[job.id]]  # one that may run nowhere takes no share from its owner's others
    allowed = shares.allowances(desk, jobs)
    cap = shares.unserved_cap(desk)
    wants: list[placement.JobFacts] = []
    for job in jobs:
        room = sum(node.free for node in usable[job.id])
        wanted = min(desk.wanted(job), allowed[job.owner], room)
        allowed[job.owner] -= wanted
        if wanted > 0:
            wants.append(placement.JobFacts(spec=job.spec, wanted=wanted, barred=shares.barred(desk, job, cap)))
    facts = shares.facts(desk, [node for node in nodes if node.free], jobs)
    if not wants or not facts:
        return False
    problem = placement.formulate(wants, facts, desk.verdicts)
    if not problem.allowed.any():
        return False
    desk.do(ev.Solve(desk.ticket(problem), problem))
    return True


def place(desk: Desk, problem: Problem, answer: Placement, now: Instant) -> None:
    """Open guests as the solver says. Raises SolutionRejected when the answer breaks a constraint."""
    placement.check(problem, answer)
    cap = shares.unserved_cap(desk)
    for row, job_id in enumerate(problem.jobs):
        job = desk.jobs.get(job_id)
        for column in answer.guests[row].nonzero()[0]:
            node = desk.nodes.get(problem.nodes[column])
            if job is not None and node is not None and node.up:
                asked = int(answer.guests[row][column])
                count = min(asked, shares.room(job, node, cap), desk.wanted(job))
                _open(desk, job, node, count, now)
                desk.dirty = desk.dirty or count < asked


def _open(desk: Desk, job: Job, node: Node, count: int, now: Instant) -> None:
    if count <= 0:
        return
    desk.opened[job.owner] = now
    ids = tuple(GuestId(desk.entropy.draw(GUEST_ID_BYTES)) for _ in range(count))
    for guest_id in ids:
        desk.watch(desk.enrol(guest_id, job, node))
    holders = [
        n for n in desk.nodes.values() if n.up and n.id != node.id and n.addresses and job.spec.program.id in n.holds
    ]
    for holder in holders[:MAX_HOLDERS]:
        desk.say(holder.id, say.Expect(program=job.spec.program, peers=(node.id,)))
    contacts = tuple(Contact(peer=n.id, addresses=n.addresses) for n in holders[:MAX_HOLDERS])
    for start in range(0, count, MAX_GUESTS):
        part = ids[start : start + MAX_GUESTS]
        desk.say(node.id, say.OpenGuests(spec=job.spec, owner=job.owner, guests=part, holders=contacts))
    desk.note(job, now, f"{count} guest(s) asked of {node.report.name}")


def _free_idle(desk: Desk) -> None:
    """Another job waits for slots: guests with nothing left to do make room."""
    for guest in desk.guests.values():
        idle = guest.phase is Phase.SERVING and not guest.outstanding
        if idle and desk.jobs[guest.job].next_pending() is None:
            desk.leaving[guest.id] = None


def explain_wait(desk: Desk, job: Job, up: answers.Up, now: Instant) -> None:
    """Keep the stated reason of a waiting job up to date."""
    if job.live and not job.guests:
        reason = answers.waiting(desk, job, up)
        if job.state is JobState.RUNNING and reason != answers.PLACING:
            job.state = JobState.PENDING  # it ran, and where it did it may no more
        if job.state is JobState.PENDING and reason != job.reason:
            job.reason = reason
            desk.note(job, now, f"waits: {reason}")
            ledger.progress(desk, job, now, at_once=True)
