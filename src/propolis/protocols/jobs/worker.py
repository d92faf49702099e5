"""A node's side of jobs: starts guests, passes sealed grants and tasks in and sealed results out, refuses what it must.

The node's own admission is a second, independent gate: what its lender does not offer it does not run, whatever the
orchestrator asks. It outlives sessions: guests go on while the orchestrator is away, and are announced again with Resume.
"""

from collections import deque
from typing import ClassVar

from propolis.decisions import admission
from propolis.decisions.guarantees import Known
from propolis.messages import jobs as say
from propolis.messages.envelope import Message
from propolis.ports.executor import TaskInput, TaskOutput
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.hosted import Hosted
from propolis.protocols.jobs.programs import Programs
from propolis.protocols.machine import Action, BodyPart, Event, Mail, TimePassed, WorkDone, WorkFailed
from propolis.terms.address import dialable
from propolis.terms.capability import CapabilityReport
from propolis.terms.contact import Contact
from propolis.terms.errors import RequirementUnmet, UnexpectedMessage
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import AttemptId, BlobId, GuestId, NodeId
from propolis.terms.job import BlobRef, JobSpec
from propolis.terms.time import Instant

ORPHAN_SECONDS = 60.0
MAX_UNSENT_BYTES = 128 * 1024 * 1024
"""Results kept for all guests while there is no session; a session takes 256 MiB at once (link.md, rule 8)."""

"""Of the lender's disk, for programs that are here or on the way."""

Output = Action | Mail


class Worker:
    """The guests of one node."""

    hears: ClassVar[session.Hears] = (say.OpenGuests, say.Grant, say.RunTasks, say.CloseGuests)
    takes: ClassVar[session.Takes] = (ev.GuestReported, ev.GuestEnded)

    def __init__(self, orchestrator: Contact, report: CapabilityReport, known: Known) -> None:
        self._orchestrator = orchestrator
        self._known = known
        self._proven: Proven = NOTHING
        self.report = report
        self._guests: dict[GuestId, Hosted] = {}
        self._waiting: deque[GuestId] = deque()  # guests without a slot yet
        self._slots: list[GuestId | None] = [None] * report.slots
        self._programs = Programs(4 * report.slots)
        self._work: dict[int, tuple[str, bytes]] = {}
        self._next_ticket = 1
        self._inside = False
        self._orphaned_at: Instant | None = None
        self._out: list[Output] = []

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event; return actions and mails."""
        match event:
            case session.Connected():
                self._connected()
            case session.Disconnected(unsent=unsent):
                self._disconnected(unsent, now)
            case session.Said(message=message, body=body):
                self._said(message, body)
            case session.ProvenHere(proven=proven):
                self._proven = proven
            case ev.GuestReported(guest=guest, outputs=outputs):
                self._reported(guest, outputs)
            case ev.GuestEnded(guest=guest, code=code, reason=reason):
                self._ended(guest, code, reason)
            case WorkDone(ticket=ticket, result=result):
                self._work_done(ticket, result)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._work_failed(ticket, code, reason)
            case TimePassed():
                self._tick(now)
            case _:
                pass
        out, self._out = self._out, []
        return out

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return self._orphaned_at if self._guests else None

    def check(self) -> None:
        """Assert the invariants."""
        held = [guest for guest in self._slots if guest is not None]
        assert len(held) == len(set(held))
        for guest in self._guests.values():
            assert (guest.slot >= 0) == (guest.id not in self._waiting)
            assert guest.slot < 0 or self._slots[guest.slot] == guest.id
            assert guest.granted or not guest.outstanding, "no task enters a guest without a key"

    # -- the session

    def _connected(self) -> None:
        self._inside, self._orphaned_at = True, None
        if not self._guests:
            self._say(say.Resume(guests=()))
        for guest in self._guests.values():
            self._say(say.Resume(guests=(guest.announcement(),)), guest.evidence)
            while guest.unsent:
                ended, parts = guest.unsent.popleft()
                self._say(ended, parts)

    def _disconnected(self, unsent: tuple[tuple[Message, tuple[BodyPart, ...]], ...], now: Instant) -> None:
        self._inside = False
        self._orphaned_at = Instant(now + ORPHAN_SECONDS)
        for message, parts in unsent:
            if isinstance(message, say.TasksEnded) and GuestId(message.guest) in self._guests:
                self._guests[GuestId(message.guest)].unsent.append((message, parts))

    def _tick(self, now: Instant) -> None:
        if self._orphaned_at is not None and now >= self._orphaned_at:
            self._orphaned_at = None
            for guest in list(self._guests):
                self._kill(guest)

    # -- messages

    def _said(self, message: Message, body: tuple[bytes | memoryview, ...]) -> None:
        match message:
            case say.OpenGuests():
                self._open(message)
            case say.Grant(guest=guest, sealed=sealed):
                self._grant(GuestId(guest), sealed)
            case say.RunTasks():
                self._run(message, body)
            case say.CloseGuests(guests=guests):
                for guest in guests:
                    self._kill(GuestId(guest))
            case _:
                pass

    def _open(self, message: say.OpenGuests) -> None:
        reasons = admission.refusals(message.spec, self.report, self._proven, self._known)
        opened = False
        for raw in message.guests:
            guest_id = GuestId(raw)
            if guest_id in self._guests:
                continue
            full = "all slots are taken" if len(self._guests) >= 2 * self.report.slots else ""
            why = "; ".join(reasons) or full or self._programs.no_room(message.spec.program)
            if why:
                self._gone(message.spec, guest_id, RequirementUnmet.code, why)
                continue
            self._guests[guest_id] = Hosted(id=guest_id, spec=message.spec, owner=message.owner)
            self._waiting.append(guest_id)
            opened = True
        if opened:
            self._fetch(message.spec.program, message.holders)
            self._start_waiting()

    def _fetch(self, program: BlobRef, holders: tuple[Contact, ...]) -> None:
        if program.id not in self._programs:
            self._programs.coming(program)
            ticket = self._ticket("program", program.id)
            ways = ((holder, dialable(holder.addresses, self._orchestrator.addresses)) for holder in holders)
            told = tuple(Contact(peer=holder.peer, addresses=way) for holder, way in ways if way)
            self._out.append(ev.FetchProgram(ticket, program, (self._orchestrator, *told)))

    def _start_waiting(self) -> None:
        while self._waiting and None in self._slots:
            guest = self._guests[self._waiting.popleft()]
            guest.slot = self._slots.index(None)
            self._slots[guest.slot] = guest.id
            self._out.append(ev.StartGuest(self._ticket("start", guest.id), guest.order(), guest.spec.challenge))

    def _grant(self, guest_id: GuestId, sealed: bytes) -> None:
        guest = self._guests.get(guest_id)
        if guest is not None and guest.receipt and not guest.grant:
            guest.grant, guest.evidence = sealed, ()
            self._enter(guest)

    def _enter(self, guest: Hosted) -> None:
        """Hand over grant and program once both are here."""
        if guest.grant and not guest.granted and self._programs.is_here(guest.spec.program.id):
            guest.granted = True
            ticket = self._ticket("grant", guest.id)
            challenged = guest.spec.challenge is not None
            self._out.append(ev.GrantGuest(ticket, guest.id, guest.grant, guest.spec.program, challenged))

    def _run(self, message: say.RunTasks, body: tuple[bytes | memoryview, ...]) -> None:
        guest = self._guests.get(GuestId(message.guest))
        if guest is None or not guest.serving or not len(message.indices) == len(message.attempts) == len(body):
            return
        misuse = guest.give(tuple(map(AttemptId, message.attempts)), message.indices, tuple(map(len, body)))
        if misuse:
            self._misused(guest, misuse)
            return
        inputs: list[TaskInput] = []
        holes: list[TaskOutput] = []
        for index, attempt, sealed in zip(message.indices, message.attempts, body, strict=True):
            if len(sealed):
                inputs.append(TaskInput(index=index, attempt=attempt, sealed=sealed))
            else:  # finished elsewhere meanwhile: its input is gone, and nothing is to be done
                holes.append(TaskOutput(index=index, attempt=attempt, sealed=b"", milliseconds=0.0))
        if inputs:
            self._out.append(ev.FeedGuest(guest.id, tuple(inputs)))
        if holes:
            self._reported(guest.id, tuple(holes))

    def _misused(self, guest: Hosted, reason: str) -> None:
        """An orchestrator that keeps no rule does not fill our memory: that guest ends, and so does the session (step 7)."""
        self._kill(guest.id)
        self._gone(guest.spec, guest.id, UnexpectedMessage.code, reason)
        self._out.append(session.EndSession(self._peer, reason))

    # -- guests

    def _reported(self, guest_id: GuestId, outputs: tuple[TaskOutput, ...]) -> None:
        guest = self._guests.get(guest_id)
        if guest is None:
            return
        known = [out for out in outputs if guest.end(AttemptId(out.attempt), out.index)]
        if not known:
            return
        ended, parts = guest.report(known)
        if self._inside:
            self._say(ended, parts)
        else:
            guest.unsent.append((ended, parts))
            if sum(other.unsent_bytes for other in self._guests.values()) > MAX_UNSENT_BYTES:
                self._kill(guest_id)  # nobody takes its results; they are computed again where somebody does

    def _ended(self, guest_id: GuestId, code: str, reason: str) -> None:
        if guest_id in self._slots:
            self._slots[self._slots.index(guest_id)] = None
        guest = self._guests.pop(guest_id, None)
        if guest is not None:
            if guest_id in self._waiting:
                self._waiting.remove(guest_id)
            culprit = next(iter(guest.outstanding), None)
            self._gone(guest.spec, guest_id, code, reason, culprit)
            self._release_program(guest.spec.program)
        self._start_waiting()

    def _kill(self, guest_id: GuestId) -> None:
        """Forget a guest and end it; its slot is free when its end is confirmed by GuestEnded."""
        guest = self._guests.pop(guest_id, None)
        if guest is None:
            return
        if guest.slot < 0:
            self._waiting.remove(guest_id)
        else:
            self._out.append(ev.KillGuest(guest_id))
        self._release_program(guest.spec.program)

    def _release_program(self, program: BlobRef) -> None:
        used = any(guest.spec.program.id == program.id for guest in self._guests.values())
        if not used and self._programs.is_here(program.id):  # one still on the way is dropped when it arrives
            self._programs.forget(program.id)
            self._out.append(ev.DropProgram(program))

    def _gone(self, spec: JobSpec, guest: GuestId, code: str, reason: str, culprit: AttemptId | None = None) -> None:
        self._say(say.GuestGone(job=spec.id, guest=guest, code=code, reason=reason[:900], culprit=culprit))

    # -- work

    def _work_done(self, ticket: int, result: object) -> None:
        what, subject = self._work.pop(ticket, ("", b""))
        if what == "program":
            self._fetched(BlobId(subject))
            return
        found = self._guests.get(GuestId(subject))
        if found is None:
            return
        if what == "start" and isinstance(result, ev.Started):
            found.receipt, found.signature, found.evidence = result.receipt, result.signature, result.evidence
            ready = say.GuestReady(job=found.spec.id, guest=found.id, receipt=found.receipt, signature=found.signature)
            self._say(ready, found.evidence)
        elif what == "grant":
            found.serving = True
            self._say(say.GuestServing(job=found.spec.id, guest=found.id))

    def _fetched(self, program: BlobId) -> None:
        """The program is here, whole; nobody may want it any more by now."""
        mine = [guest for guest in self._guests.values() if guest.spec.program.id == program]
        if not mine:
            self._programs.forget(program)
            self._out.append(ev.DropProgram(BlobRef(blob=program, size=0)))
            return
        self._programs.arrived(program)
        self._say(say.HasProgram(program=mine[0].spec.program))
        for guest in mine:
            self._enter(guest)

    def _work_failed(self, ticket: int, code: str, reason: str) -> None:
        what, subject = self._work.pop(ticket, ("", b""))
        if what == "program":
            self._programs.forget(BlobId(subject))
            self._out.append(ev.DropProgram(BlobRef(blob=subject, size=0)))  # the chunks that did come
            for guest in [g for g in self._guests.values() if g.spec.program.blob == subject]:
                self._kill(guest.id)
                self._gone(guest.spec, guest.id, code, reason)
        elif what == "start":
            self._ended(GuestId(subject), code, reason)
        elif what == "grant" and GuestId(subject) in self._guests:
            guest = self._guests[GuestId(subject)]
            self._kill(guest.id)
            self._gone(guest.spec, guest.id, code, reason)

    # -- small

    @property
    def _peer(self) -> NodeId:
        return self._orchestrator.id

    def _ticket(self, what: str, subject: bytes) -> int:
        self._next_ticket += 1
        self._work[self._next_ticket] = (what, subject)
        return self._next_ticket

    def _say(self, message: Message, parts: tuple[BodyPart, ...] = ()) -> None:
        self._out.append(Mail(self._peer, message, parts))
