"""Which node opens guests for which job: facts to a Problem, a solver's answer checked, then acted on while it holds."""

from propolis.decisions import placement
from propolis.messages import jobs as say
from propolis.protocols.jobs import answers, ledger
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import Job, Node, Phase
from propolis.protocols.jobs.desk import Desk
from propolis.terms.contact import Contact
from propolis.terms.identity import GUEST_ID_BYTES, GuestId, NodeId
from propolis.terms.job import JobState
from propolis.terms.placement import Placement, Problem
from propolis.terms.time import Instant

MAX_HOLDERS = 4


def plan(desk: Desk, now: Instant) -> bool:
    """Ask the solver if there is anything to place. Returns whether a question is out."""
    jobs = [job for job in desk.jobs.values() if desk.wanted(job) > 0]
    nodes = [node for node in desk.nodes.values() if node.up and not node.suspect]
    if jobs and not any(node.free for node in nodes):
        _free_idle(desk)
    facts = [_facts(n) for n in nodes if n.free]
    asked = False
    if jobs and facts:
        wants = [placement.JobFacts(spec=j.spec, wanted=desk.wanted(j), barred=_resting(j, now)) for j in jobs]
        problem = placement.formulate(wants, facts, desk.verdicts)
        if problem.allowed.any():
            asked = True
            desk.do(ev.Solve(desk.ticket(problem), problem))
    up = answers.Up(desk)
    for job in desk.jobs.values():
        explain_wait(desk, job, up, now)
    return asked


def _facts(node: Node) -> placement.NodeFacts:
    return placement.NodeFacts(node=node.id, report=node.report, proven=node.proven, free=node.free, survival=1.0)


def place(desk: Desk, problem: Problem, answer: Placement, now: Instant) -> None:
    """Open guests as the solver says. Raises SolutionRejected when the answer breaks a constraint."""
    placement.check(problem, answer)
    for row, job_id in enumerate(problem.jobs):
        job = desk.jobs.get(job_id)
        for column in answer.guests[row].nonzero()[0]:
            node = desk.nodes.get(problem.nodes[column])
            if job is not None and node is not None and node.up:
                _open(desk, job, node, min(int(answer.guests[row][column]), node.free, desk.wanted(job)), now)


def _open(desk: Desk, job: Job, node: Node, count: int, now: Instant) -> None:
    if count <= 0:
        return
    ids = tuple(GuestId(desk.entropy.draw(GUEST_ID_BYTES)) for _ in range(count))
    for guest_id in ids:
        desk.enrol(guest_id, job, node)
    holders = [
        n for n in desk.nodes.values() if n.up and n.id != node.id and n.addresses and job.spec.program.id in n.holds
    ]
    for holder in holders[:MAX_HOLDERS]:
        desk.say(holder.id, say.Expect(program=job.spec.program, peers=(node.id,)))
    contacts = tuple(Contact(peer=n.id, addresses=n.addresses) for n in holders[:MAX_HOLDERS])
    desk.say(node.id, say.OpenGuests(spec=job.spec, owner=job.owner, guests=ids, holders=contacts))
    desk.note(job, now, f"{count} guest(s) asked of {node.report.name}")


def _resting(job: Job, now: Instant) -> frozenset[NodeId]:
    return frozenset(job.barred) | {node for node, strike in job.strikes.items() if strike.until > now}


def _free_idle(desk: Desk) -> None:
    """Another job waits for slots: guests with nothing left to do make room."""
    for guest in desk.guests.values():
        idle = guest.phase is Phase.SERVING and not guest.outstanding
        if idle and desk.jobs[guest.job].next_pending() is None:
            desk.leaving[guest.id] = None


def explain_wait(desk: Desk, job: Job, up: answers.Up, now: Instant) -> None:
    """Keep the stated reason of a waiting job up to date."""
    if job.state is JobState.PENDING and not job.guests:
        reason = answers.waiting(desk, job, up)
        if reason != job.reason:
            job.reason = reason
            desk.note(job, now, f"waits: {reason}")
            ledger.progress(desk, job, now, at_once=True)
