"""The orchestrator's side of jobs: keeps jobs, opens guests where placement says, feeds them, collects results once.

It sees ciphertext, sizes and requirements. What it holds is rebuilt from the store after a restart and from the nodes'
Resume messages (docs/specs/job.md). This file routes events to the rooms around the desk and settles what they leave.
"""

from typing import ClassVar

from propolis.decisions.guarantees import Known
from propolis.messages import jobs as say
from propolis.messages.envelope import Message, Segment
from propolis.ports.entropy import Entropy
from propolis.ports.store import Rows
from propolis.protocols import session
from propolis.protocols.jobs import answers, feeding, hosting, intake, ledger, overdue, planning, restoring
from propolis.protocols.jobs.book import Job, Node, Phase
from propolis.protocols.jobs.desk import Desk, DispatcherConfig, Output
from propolis.protocols.machine import Event, TimePassed, WorkDone, WorkFailed
from propolis.terms.errors import PropolisError, StoreFull
from propolis.terms.identity import BlobId, NodeId
from propolis.terms.job import JobState
from propolis.terms.placement import Placement, Problem
from propolis.terms.time import Instant, earliest

OF_OWNERS = (say.Submit, say.PutInputs, say.Grant, say.Denied, say.Taken, say.Rejected, say.Stop, say.Ask)
OF_NODES = (say.Resume, say.GuestReady, say.GuestServing, say.GuestGone, say.TasksEnded, say.HasProgram)
SOLVE_AGAIN = 1.0
MOST_FETCH_PAUSE = 60.0  # of a program that its owner does not hand over
PLAN_EVERY = 0.02


class Dispatcher:
    """One fleet's jobs."""

    hears: ClassVar[session.Hears] = (*OF_OWNERS, *OF_NODES)
    takes: ClassVar[session.Takes] = ()

    def __init__(self, entropy: Entropy, boot: int, known: Known, config: DispatcherConfig | None = None) -> None:
        self.desk = Desk(entropy, boot, known, config or DispatcherConfig())
        self._solving = False
        self._planned = float("-inf")
        self._ready_at: Instant | None = None

    # -- restart

    def restore(self, rows: Rows, now: Instant) -> None:
        """Take what is stored, queue what is left, and give nodes a moment to resume before anything is placed anew."""
        restoring.restore(self.desk, rows, now)
        self.desk.reborn = now
        if self.desk.jobs:
            self._ready_at = Instant(now + self.desk.config.boot_grace)

    def programs(self) -> set[BlobId]:
        """Return the sealed programs that are still needed, or may be."""
        return {job.spec.program.id for job in self.desk.jobs.values() if job.live or job.untaken}

    # -- the machine

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event; return actions and mails."""
        desk = self.desk
        desk.now = now
        match event:
            case session.Said(peer=peer, message=message, body=body):
                self._said(peer, message, body, now)
            case session.NodeEntered(node=node, report=report, addresses=addresses, credential=credential):
                hosting.entered(desk, Node(node, report, addresses, credential), now)
            case session.NodeSuspected(node=node):
                hosting.suspected(desk, node, suspect=True)
            case session.NodeRecovered(node=node):
                hosting.suspected(desk, node, suspect=False)
            case session.NodeProven():
                hosting.proven(desk, event, now)
            case session.NodeLost(node=node):
                hosting.lost(desk, node, now)
            case session.MemberRemoved(member=member):
                hosting.removed(desk, member, now)
                intake.removed(desk, member, now)
            case session.OwnerEntered(owner=owner):
                desk.owners.add(owner)
                desk.dirty = True
            case session.OwnerLost(owner=owner):
                desk.owners.discard(owner)
                desk.dirty = True
            case session.DiskFilled():
                self._disk_filled(event)
            case WorkDone(ticket=ticket, result=result):
                self._work_done(ticket, result, now)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._work_failed(ticket, f"{code}: {reason}", code == StoreFull.code, now)
            case TimePassed():
                self._tick(now)
            case _:
                pass
        self._settle(now)
        out, desk.out = desk.out, []
        return out

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return earliest(self._ready_at, self.desk.alarms[0][0] if self.desk.alarms else None)

    def check(self) -> None:
        """Assert the invariants."""
        desk = self.desk
        assert not desk.leaving
        assert not desk.hungry
        for guest in desk.guests.values():
            assert guest.id in desk.nodes[guest.node].guests
            assert guest.id in desk.jobs[guest.job].guests
            if guest.phase is not Phase.SERVING or guest.outstanding:
                assert guest.due is not None, "every guest that owes a step is waited for"
                assert guest.armed is not None, "and somebody is woken for it"
                assert guest.armed <= guest.due
        for job in desk.jobs.values():
            assert job.serving == sum(desk.guests[guest].phase is Phase.SERVING for guest in job.guests)
            assert job.live or not job.guests, "an ended job holds no guest"
            held = {a: i for guest in job.guests for a, i in desk.guests[guest].outstanding.items()}
            assert all(held.get(a) == i for i, a in job.running.items()), "what runs, runs in some guest"
            assert not any(index in job.finished for index in job.running), "a finished task does not run"
            assert all(index in job.finished for index in job.untaken)
        for node in desk.nodes.values():
            assert node.up or not node.guests

    # -- inside

    def _said(self, peer: NodeId, message: Message, body: tuple[Segment, ...], now: Instant) -> None:
        """Route a member's words; what is not its to say is not answered."""
        if peer in self.desk.owners:
            self._owner_said(peer, message, body, now)
        elif peer in self.desk.nodes:
            self._node_said(peer, message, body, now)

    def _owner_said(self, peer: NodeId, message: Message, body: tuple[Segment, ...], now: Instant) -> None:
        desk = self.desk
        match message:
            case say.Submit(spec=spec):
                intake.submit(desk, peer, spec, now)
            case say.PutInputs():
                intake.put_inputs(desk, peer, message, body, now)
            case say.Grant() | say.Denied():
                intake.granted(desk, peer, message, now)
            case say.Taken():
                intake.taken(desk, peer, message)
            case say.Rejected():
                intake.rejected(desk, peer, message, now)
            case say.Stop(job=job):
                intake.stop(desk, peer, job, now)
            case say.Ask(job=job):
                answer, rows = answers.answer(desk, peer, message, desk.owned(peer, job) if job else None, now)
                desk.say(peer, answer, (rows,))
            case _:
                pass

    def _node_said(self, peer: NodeId, message: Message, body: tuple[Segment, ...], now: Instant) -> None:
        desk = self.desk
        match message:
            case say.Resume():
                hosting.resume(desk, peer, message, body)
            case say.GuestReady() | say.GuestServing() | say.GuestGone():
                hosting.moved(desk, peer, message, body, now)
            case say.TasksEnded():
                hosting.tasks_ended(desk, peer, message, body, now)
            case say.HasProgram(program=program):
                hosting.holds(desk, peer, program.id)
            case _:
                pass

    def _disk_filled(self, event: session.DiskFilled) -> None:
        desk = self.desk
        desk.disk_full, desk.spilled, desk.dirty = event.full, event.spilled, True
        for job in desk.jobs.values():
            desk.feed_all(job)

    def _settle(self, now: Instant) -> None:
        """Close guests that must go, feed jobs that may be fed, place what is left, until nothing asks for more."""
        desk = self.desk
        while desk.leaving or desk.hungry or self._may_plan():
            self._close_leaving()
            hungry, desk.hungry = desk.hungry, {}
            for job_id, only in hungry.items():
                if job_id in desk.jobs:
                    feeding.feed(desk, desk.jobs[job_id], only, now)
            if self._may_plan() and not desk.leaving:
                self._plan(now)

    def _plan(self, now: Instant) -> None:
        """Place now, or a moment after the last time: a thousand nodes may enter at once."""
        desk = self.desk
        desk.dirty = False
        if now < self._planned + PLAN_EVERY:
            desk.retry(Instant(self._planned + PLAN_EVERY))
        else:
            self._planned = now
            self._solving = planning.plan(desk, now)

    def _may_plan(self) -> bool:
        return self.desk.dirty and not self._solving and self._ready_at is None

    def _close_leaving(self) -> None:
        by_node: dict[NodeId, list[bytes]] = {}
        for guest_id in list(self.desk.leaving):
            guest = self.desk.guests.get(guest_id)
            self.desk.leaving.pop(guest_id, None)
            if guest is not None:
                by_node.setdefault(guest.node, []).append(guest_id)
                self.desk.drop(guest)
        for node, ids in by_node.items():
            for start in range(0, len(ids), 256):
                self.desk.say(node, say.CloseGuests(guests=tuple(ids[start : start + 256])))

    def _work_done(self, ticket: int, result: object, now: Instant) -> None:
        subject = self.desk.work.pop(ticket, None)
        if isinstance(subject, Problem):
            self._solving = False
            try:
                planning.place(
                    self.desk, subject, result if isinstance(result, Placement) else _no_answer(subject), now
                )
            except PropolisError as error:  # a wrong solver costs a round, never a rule
                self._solve_again(str(error), now)
        elif subject is not None:
            subject.has_program, subject.fetching = subject.live, False
            ledger.release(self.desk, subject)  # it may have ended, and be forgotten, while its program was on the way
            self.desk.dirty = True

    def _work_failed(self, ticket: int, why: str, disk_full: bool, now: Instant) -> None:
        subject = self.desk.work.pop(ticket, None)
        if isinstance(subject, Problem):
            self._solving = False
            self._solve_again(why, now)
        elif subject is not None:
            self._not_fetched(subject, why, disk_full, now)

    def _not_fetched(self, job: Job, why: str, disk_full: bool, now: Instant) -> None:
        job.fetching = False
        if not job.live:
            ledger.release(self.desk, job)  # the chunks that did come after its end
            return
        job.reason = f"its program did not arrive: {why}"[:500]
        self.desk.note(job, now, job.reason)
        if disk_full:
            ledger.end(self.desk, job, JobState.FAILED, job.reason, now)
        else:
            job.unfetched += 1
            pause = min(SOLVE_AGAIN * 2.0 ** min(job.unfetched - 1, 10), MOST_FETCH_PAUSE)
            job.fetch_at = Instant(now + pause)
            self.desk.retry(job.fetch_at)

    def _solve_again(self, why: str, now: Instant) -> None:
        self.desk.retry(Instant(now + SOLVE_AGAIN))
        for job in self.desk.jobs.values():
            if job.live:
                self.desk.note(job, now, f"placement failed: {why}")

    def _tick(self, now: Instant) -> None:
        desk = self.desk
        if self._ready_at is not None and now >= self._ready_at:
            self._ready_at, desk.dirty = None, True
        if overdue.ring(desk, now):
            desk.dirty = True
            for job in desk.jobs.values():
                if job.owner in desk.owners:
                    intake.fetch_program(desk, job)


def _no_answer(problem: Problem) -> Placement:
    return Placement(guests=problem.allowed.astype(int) * 0)
