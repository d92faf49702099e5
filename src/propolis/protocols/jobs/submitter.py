"""The owner's side of jobs: uploads sealed inputs, releases keys to guests that satisfy the requirement, takes results once.

It keeps no plaintext and no key: sealing and opening are work asked of the owner's key home. Everything it needs to go on
after the client was closed is in the owner's store and in the orchestrator's Accepted answer.
"""

from collections.abc import Mapping
from typing import ClassVar

from propolis.decisions.appraisal.member import Row
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.envelope import Message, Segment
from propolis.messages.membership import ShowPolicy, ShowRemovals
from propolis.messages.rows import Rows
from propolis.ports.store import Put
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.bits import Bits
from propolis.protocols.jobs.book import GRANTED, INPUTS, OUTPUTS, RESULTS, KeptResult, task_key
from propolis.protocols.jobs.release import Release
from propolis.protocols.jobs.sending import Opening, Sealing, Sending
from propolis.protocols.jobs.vouching import TABLE
from propolis.protocols.machine import Action, BodyPart, Event, FromStore, Mail, Persist, Tell, WorkDone, WorkFailed
from propolis.terms.contact import Contact
from propolis.terms.credential import MAX_LIST_BYTES, SignedRemovals
from propolis.terms.errors import MalformedMessage, ReleaseDenied
from propolis.terms.evidence import emulated
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import Granted, JobSpec, Receipt
from propolis.terms.policy import MAX_POLICY_BYTES, SignedPolicy
from propolis.terms.time import Instant

Output = Action | Mail


class Submitter:
    """The jobs of one owner."""

    hears: ClassVar[session.Hears] = (
        say.Accepted, say.Refused, say.Stored, say.GrantWanted, say.Results, say.Progress, say.Answer, ShowRemovals,
        ShowPolicy,
    )  # fmt: skip
    takes: ClassVar[session.Takes] = (ev.SubmitAsked, ev.StopAsked, ev.QuestionAsked, ev.RemovalsMade, ev.PolicyMade)

    def __init__(
        self,
        orchestrator: Contact,
        release: Release,
        rows: Mapping[NodeId, Row] | None = None,
        epoch: float = 0.0,
    ) -> None:
        """`release`: what is checked before a key leaves; `rows`: what is kept of machines that proved something to us.

        `epoch`: seconds since 1970 at instant 0, as it is kept when a key was given.
        """
        self._orchestrator = orchestrator
        self._epoch = epoch
        self._release = release
        self._rows: dict[NodeId, Row] = dict(rows or {})
        self._jobs: dict[JobId, Sending] = {}
        self._work: dict[int, Sealing | Opening] = {}
        self._next_ticket = 1
        self._inside = False
        self._questions: dict[int, ev.QuestionAsked] = {}
        self._out: list[Output] = []

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event; return actions and mails."""
        match event:
            case session.Connected():
                self._connected()
            case session.Disconnected():
                self._inside = False
            case session.Said(message=message, body=body):
                self._said(message, body, now)
            case ev.SubmitAsked(spec=spec, sizes=sizes, finished=finished, granted=granted):
                known = Bits(spec.tasks, finished) if finished else Bits(spec.tasks)
                self._jobs[spec.id] = Sending(spec, list(sizes), known, granted)
                self._submit(spec)
            case ev.RemovalsMade(signed=signed) | ev.PolicyMade(signed=signed):
                self._learnt(signed)
            case ev.StopAsked(job=job):
                self._say(say.Stop(job=job))
            case ev.QuestionAsked(ticket=ticket):
                self._questions[ticket] = event
                self._ask(event)
            case WorkDone(ticket=ticket, result=result):
                self._work_done(ticket, result)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._work_failed(ticket, code, reason)
            case _:
                pass
        out, self._out = self._out, []
        return out

    def deadline(self) -> Instant | None:
        """Nothing here waits for time; the link and the member do."""
        return None

    def check(self) -> None:
        """Assert the invariants."""
        for job in self._jobs.values():
            job.check()

    # -- session

    def _connected(self) -> None:
        self._inside = True
        for job in self._jobs.values():
            job.begin()
            if not job.ended:
                self._submit(job.spec)
        for question in self._questions.values():
            self._ask(question)

    def _submit(self, spec: JobSpec) -> None:
        if self._inside:
            self._say(say.Submit(spec=spec))

    def _ask(self, question: ev.QuestionAsked) -> None:
        if self._inside:
            self._say(say.Ask(request=question.ticket, what=question.what, job=question.job))

    # -- messages

    def _said(self, message: Message, body: tuple[Segment, ...], now: Instant) -> None:
        match message:
            case say.Accepted(job=job):
                self._accepted(JobId(job), body)
            case say.Refused(job=job):
                if JobId(job) in self._jobs:
                    self._jobs[JobId(job)].ended = True
                    self._tell(JobId(job), message)
            case say.Stored():
                self._stored(message)
            case say.GrantWanted():
                self._grant_wanted(message, body, now)
            case say.Results():
                self._results(message, body)
            case say.Progress(job=job):
                if JobId(job) in self._jobs:
                    self._tell(JobId(job), message)
            case say.Answer():
                self._answered(message, body)
            case ShowRemovals(signature=signature) if len(body) == 1 and len(body[0]) <= MAX_LIST_BYTES:
                self._learnt(SignedRemovals(data=bytes(body[0]), signature=signature))
            case ShowPolicy(signature=signature) if len(body) == 1 and len(body[0]) <= MAX_POLICY_BYTES:
                self._learnt(SignedPolicy(data=bytes(body[0]), signature=signature))
            case _:
                pass

    def _accepted(self, job_id: JobId, body: tuple[Segment, ...]) -> None:
        job = self._jobs.get(job_id)
        if job is None or len(body) != 2:
            return
        try:
            job.stored = Bits(job.spec.tasks, body[0])
        except MalformedMessage:
            return  # an orchestrator that cannot count gets no inputs
        self._tell(job_id, say.Accepted(job=job_id))
        self._upload(job)

    def _upload(self, job: Sending) -> None:
        """Keep a window of sealed inputs on the way."""
        for batch in job.batches():
            parts = tuple(FromStore(INPUTS, task_key(job.spec.id, index), job.sizes[index]) for index in batch)
            self._say(say.PutInputs(job=job.spec.id, indices=tuple(batch)), parts)

    def _stored(self, message: say.Stored) -> None:
        job = self._jobs.get(JobId(message.job))
        if job is None or job.stored is None:
            return
        job.keep(message.indices)
        self._upload(job)

    # -- keys (docs/specs/job.md, step 6): the last gate before a key leaves, and it is ours

    def _grant_wanted(self, message: say.GrantWanted, body: tuple[Segment, ...], now: Instant) -> None:
        job = self._jobs.get(JobId(message.job))
        if job is None:
            return
        receipt = self._release.receipt(message)
        if receipt is None:
            return
        node = receipt.node_id
        vouched = self._release.vouched(job.spec, receipt, body, self._epoch + now, self._rows.get(node))
        reasons = self._release.lacking(job.spec, receipt, vouched, job.granted, job.keys_of(node))
        if reasons:
            self._deny(receipt, message.job, "; ".join(reasons))
            return
        job.give(receipt)
        at = max(0, int(self._epoch + now))
        kept = Granted(receipt=message.receipt, signature=message.signature, at=at, proven=vouched.proven)
        if vouched.row is not None and vouched.row.follows(self._rows.get(node)):
            self._rows[node] = vouched.row
            self._out.append(Persist((Put(TABLE, node, codec.encode(vouched.row)),)))
        ticket = self._ticket(Sealing(job.spec.id, receipt.guest_id, kept, self._release.policy))
        rehearsed = emulated(vouched.proven)
        self._out.append(
            ev.SealGrant(ticket, job.spec.id, receipt.guest_id, receipt.guest_key, node, vouched.machine, rehearsed)
        )

    def _sealed(self, work: Sealing, sealed: bytes) -> None:
        receipt: Receipt = codec.decode(work.granted.receipt, Receipt)
        if overtaken := self._release.overtaken(self._jobs[work.job].spec, receipt, work.policy):
            self._deny(receipt, work.job, overtaken)
            return
        row = Put(GRANTED, work.job + work.guest, codec.encode(work.granted))
        self._out.append(Persist((row,)))  # who holds a key is known before the key leaves
        self._say(say.Grant(job=work.job, guest=work.guest, sealed=sealed))

    def _learnt(self, signed: SignedRemovals | SignedPolicy) -> None:
        """Keep the operator's newer word; an older one, or another's, says nothing."""
        row = self._release.heard(signed)
        if row is not None:
            self._out.append(Persist((row,)))

    def _deny(self, receipt: Receipt, job: bytes, reason: str) -> None:
        self._say(say.Denied(job=job, guest=receipt.guest, reason=f"{ReleaseDenied.code}: {reason}"[:900]))

    # -- results

    def _results(self, message: say.Results, body: tuple[Segment, ...]) -> None:
        job = self._jobs.get(JobId(message.job))
        if job is None or len(body) != len(message.items):
            return
        again = tuple(
            item.index for item in message.items if item.index < job.spec.tasks and item.index in job.finished
        )
        if again:  # our Taken was lost with a session
            self._say(say.Taken(job=message.job, indices=again))
        fresh: list[tuple[say.TaskResult, bytes]] = []
        for item, part in zip(message.items, body, strict=True):
            if item.index >= job.spec.tasks or item.index in job.finished or item.index in job.opening:
                continue
            if item.code or self._ran(job, item):
                fresh.append((item, bytes(part)))
            else:  # no guest of ours, or not on that node: whoever says so made it up; or that node was removed
                self._say(say.Rejected(job=job.spec.id, index=item.index, attempt=item.attempt))
        if fresh:
            job.opening.update(item.index for item, _ in fresh)
            items, sealed = tuple(item for item, _ in fresh), tuple(part for _, part in fresh)
            self._out.append(
                ev.OpenResults(self._ticket(Opening(job.spec.id, items, sealed)), job.spec.id, items, sealed)
            )

    def _ran(self, job: Sending, item: say.TaskResult) -> bool:
        receipt = job.granted.get(GuestId(item.guest))
        return receipt is not None and receipt.node == item.node and not self._release.removed(receipt)

    def _opened(self, opening: Opening, verdicts: list[bool]) -> None:
        job = self._jobs.get(opening.job)
        if job is None:
            return
        taken: list[int] = []
        writes: list[Put] = []
        for item, sealed, good in zip(opening.items, opening.sealed, verdicts, strict=True):
            job.opening.discard(item.index)
            if not good:
                self._say(say.Rejected(job=job.spec.id, index=item.index, attempt=item.attempt))
            elif job.finished.add(item.index):
                taken.append(item.index)
                key = task_key(job.spec.id, item.index)
                writes.append(Put(RESULTS, key, codec.encode(KeptResult(item=item, size=len(sealed)))))
                writes.append(Put(OUTPUTS, key, sealed))
        if taken:
            self._out.append(Persist(tuple(writes)))
            self._say(say.Taken(job=job.spec.id, indices=tuple(taken)))
        job.ended = job.finished.full

    def _answered(self, message: say.Answer, body: tuple[Segment, ...]) -> None:
        question = self._questions.pop(message.request, None)
        if question is None:
            return
        try:
            rows: Rows = codec.decode(body[0], Rows) if body else Rows()
        except MalformedMessage as error:
            self._out.append(Tell(ev.Answered(question.ticket, Rows(), 0, str(error))))
            return
        self._out.append(Tell(ev.Answered(question.ticket, rows, message.total, message.reason)))

    # -- work

    def _work_done(self, ticket: int, result: object) -> None:
        work = self._work.pop(ticket, None)
        if isinstance(work, Sealing) and isinstance(result, bytes):
            self._sealed(work, result)
        elif isinstance(work, Opening) and isinstance(result, list):
            self._opened(work, result)

    def _work_failed(self, ticket: int, code: str, reason: str) -> None:
        work = self._work.pop(ticket, None)
        if isinstance(work, Sealing):
            self._say(say.Denied(job=work.job, guest=work.guest, reason=f"{code}: {reason}"[:900]))
        elif isinstance(work, Opening):
            self._opened(work, [False] * len(work.items))

    # -- small

    @property
    def _peer(self) -> NodeId:
        return self._orchestrator.id

    def _ticket(self, work: Sealing | Opening) -> int:
        self._next_ticket += 1
        self._work[self._next_ticket] = work
        return self._next_ticket

    def _say(self, message: Message, parts: tuple[BodyPart, ...] = ()) -> None:
        self._out.append(Mail(self._peer, message, parts))

    def _tell(self, job: JobId, message: Message) -> None:
        self._out.append(Tell(ev.JobMoved(job, message)))
