"""The orchestrator's side of jobs: keeps jobs, opens guests where placement says, feeds them, collects results once.

It sees ciphertext, sizes and requirements. What it holds is rebuilt from the store after a restart and from the nodes'
Resume messages; a task is finished by its first accepted result and by no other (docs/specs/job.md).
"""

from collections.abc import Iterable

import msgspec

from propolis.decisions import admission, placement
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.envelope import Message, Segment
from propolis.ports.store import Drop, DropPrefix, Put, Write
from propolis.ports.world import Entropy
from propolis.protocols.jobs import answers, feeding
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import (
    INPUTS,
    JOBS,
    OUTPUTS,
    RESULTS,
    Guest,
    Job,
    KeptJob,
    KeptResult,
    Node,
    Phase,
    Strike,
    task_key,
)
from propolis.protocols.machine import (
    Action,
    BodyPart,
    Event,
    FromStore,
    Mail,
    Persist,
    TimePassed,
    WorkDone,
    WorkFailed,
)
from propolis.terms.capability import CapabilityReport
from propolis.terms.contact import Contact
from propolis.terms.errors import Overran, PropolisError, RequirementUnmet, StoreFull
from propolis.terms.identity import GUEST_ID_BYTES, AttemptId, GuestId, JobId, NodeId
from propolis.terms.job import MAX_TASK_BYTES, JobSpec, JobState
from propolis.terms.placement import Placement, Problem
from propolis.terms.time import Instant, earliest

TASK_FAULTS = ("executor.overran", "executor.crashed")
Output = Action | Mail


class DispatcherConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times; seconds, counts, bytes."""

    max_jobs_per_owner: int = 1000
    max_faults: int = 3
    boot_grace: float = 2.0
    progress_every: float = 0.25
    batch_bytes: int = 4 * 1024 * 1024
    batch_tasks: int = 512
    target_ms: float = 200.0
    strike_rest: float = 0.5
    max_strikes: int = 5
    result_batch: int = 256


class Dispatcher:
    """One fleet's jobs."""

    def __init__(self, entropy: Entropy, boot: int, config: DispatcherConfig | None = None) -> None:
        self._entropy = entropy
        self.config = config or DispatcherConfig()
        self._next_attempt = boot << 40  # attempts never repeat across restarts
        self._next_ticket = 1
        self.jobs: dict[JobId, Job] = {}
        self.guests: dict[GuestId, Guest] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.owners: set[NodeId] = set()
        self._admits: dict[tuple[JobId, NodeId], bool] = {}
        self._work: dict[int, JobId | Problem] = {}
        self._solving = False
        self._dirty = False
        self._disk_full = False
        self._ready_at: Instant | None = None
        self._retry_at: Instant | None = None
        self._out: list[Output] = []

    # -- restart

    def restore_job(self, value: bytes, now: Instant) -> None:
        """Take one row of the jobs table; call before the other tables."""
        kept: KeptJob = codec.decode(value, KeptJob)
        job = Job(kept.spec, NodeId(kept.owner), now)
        job.state, job.reason = kept.state, kept.reason
        if job.state is JobState.RUNNING:
            job.state = JobState.PENDING
        self.jobs[job.id] = job

    def restore_input(self, key: bytes, size: int) -> None:
        """Take one row of the inputs table: its key and its value's size."""
        job, index = self.jobs.get(JobId(key[:16])), int.from_bytes(key[16:], "big")
        if job is not None and index < job.spec.tasks and job.stored.add(index):
            job.sizes[index] = size

    def restore_result(self, key: bytes, value: bytes) -> None:
        """Take one row of the results table; call after the inputs."""
        job, index = self.jobs.get(JobId(key[:16])), int.from_bytes(key[16:], "big")
        if job is None or index >= job.spec.tasks:
            return
        kept: KeptResult = codec.decode(value, KeptResult)
        job.finished.add(index)
        job.stored.add(index)
        job.failed += bool(kept.item.code)
        if not kept.taken:
            job.untaken[index] = kept

    def restored(self, now: Instant) -> None:
        """Finish a restart: queue what is left, and give nodes a moment to resume before anything is placed anew."""
        for job in self.jobs.values():
            if job.live:
                job.pending.extend(i for i in range(job.spec.tasks) if i in job.stored and i not in job.finished)
        self._ready_at = Instant(now + self.config.boot_grace) if self.jobs else None

    # -- the machine

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event; return actions and mails."""
        match event:
            case ev.Said(peer=peer, message=message, body=body):
                self._said(peer, message, body, now)
            case ev.NodeEntered(node=node, report=report, addresses=addresses):
                self._node_entered(Node(node, report, addresses), now)
            case ev.NodeSuspected(node=node):
                if node in self.nodes:
                    self.nodes[node].suspect = True
            case ev.NodeLost(node=node):
                self._node_lost(node, now)
            case ev.OwnerEntered(owner=owner):
                self.owners.add(owner)
                self._dirty = True
            case ev.OwnerLost(owner=owner):
                self.owners.discard(owner)
                self._touch_all(now)
            case ev.DiskFilled(full=full):
                self._disk_full = full
            case WorkDone(ticket=ticket, result=result):
                self._work_done(ticket, result, now)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._work_failed(ticket, code, reason, now)
            case TimePassed():
                self._tick(now)
            case _:
                pass
        self._plan(now)
        out, self._out = self._out, []
        return out

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        due = earliest(self._ready_at, self._retry_at)
        for job in self.jobs.values():
            if job.progress_due is not None:
                due = earliest(due, job.progress_due)
        return due

    def check(self) -> None:
        """Assert the invariants."""
        for guest in self.guests.values():
            assert guest.id in self.nodes[guest.node].guests
            assert guest.id in self.jobs[guest.job].guests
        for job in self.jobs.values():
            assert job.live or not job.guests, "an ended job holds no guest"
            assert not any(index in job.finished for index in job.running), "a finished task does not run"
            assert set(job.untaken) <= {i for i in job.untaken if i in job.finished}
        for node in self.nodes.values():
            assert node.up or not node.guests

    # -- messages

    def _said(self, peer: NodeId, message: Message, body: tuple[Segment, ...], now: Instant) -> None:
        match message:
            case say.Submit(spec=spec):
                self._submit(peer, spec, now)
            case say.PutInputs():
                self._put_inputs(peer, message, body, now)
            case say.Grant() | say.Denied():
                self._granted(peer, message, now)
            case say.Taken():
                self._taken(peer, message)
            case say.Rejected():
                self._rejected(peer, message, now)
            case say.Stop(job=job):
                self._stop(peer, JobId(job), now)
            case say.Ask():
                self._ask(peer, message, now)
            case say.Resume():
                self._resume(peer, message, now)
            case say.GuestReady() | say.GuestServing() | say.GuestGone():
                self._guest_moved(peer, message, now)
            case say.TasksEnded():
                self._tasks_ended(peer, message, body, now)
            case say.HasProgram(program=program):
                if peer in self.nodes:
                    self.nodes[peer].holds.add(program.id)
            case _:
                pass  # a member that says what is not its to say is not answered

    def _owned(self, peer: NodeId, job: bytes) -> Job | None:
        found = self.jobs.get(JobId(job))
        return found if found is not None and found.owner == peer else None

    # -- owners

    def _submit(self, owner: NodeId, spec: JobSpec, now: Instant) -> None:
        known = self.jobs.get(spec.id)
        if known is not None:
            if known.owner != owner or known.spec != spec:
                self._say(
                    owner, say.Refused(job=spec.job, code=RequirementUnmet.code, reason="another job has this id")
                )
            else:
                self._resync(known, now)
            return
        reasons = admission.never(spec)
        if sum(job.owner == owner for job in self.jobs.values()) >= self.config.max_jobs_per_owner:
            self._make_room(owner)
        if sum(job.owner == owner for job in self.jobs.values()) >= self.config.max_jobs_per_owner:
            reasons.append(f"you have {self.config.max_jobs_per_owner} unfinished jobs already")
        if self._disk_full:
            self._say(owner, say.Refused(job=spec.job, code=StoreFull.code, reason="the orchestrator's disk is full"))
            return
        job = Job(spec, owner, now)
        if reasons:
            job.state, job.reason = JobState.REFUSED, "; ".join(reasons)[:900]
            self._say(owner, say.Refused(job=spec.job, code=RequirementUnmet.code, reason=job.reason))
        self.jobs[job.id] = job
        self._note(job, now, f"accepted: {spec.kind} of {spec.tasks} tasks" if job.live else f"refused: {job.reason}")
        self._write(Put(JOBS, job.id, codec.encode(job.kept())))
        if job.live:
            self._resync(job, now)

    def _make_room(self, owner: NodeId) -> None:
        """Forget the owner's oldest ended jobs whose results it has taken."""
        ended = [job for job in self.jobs.values() if job.owner == owner and not job.live and not job.untaken]
        for job in ended[: max(1, len(ended) // 2)]:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        del self.jobs[job.id]
        self._write(Drop(JOBS, job.id), *(DropPrefix(table, job.id) for table in (INPUTS, RESULTS, OUTPUTS)))
        self._out.append(ev.DropProgram(job.spec.program))

    def _resync(self, job: Job, now: Instant) -> None:
        """Tell a (re)connected owner everything it may have missed."""
        stored, finished = job.stored.data(), job.finished.data()
        self._say(job.owner, say.Accepted(job=job.id), (stored, finished))
        if job.live and not job.has_program and not job.fetching:
            job.fetching = True
            holder = Contact(peer=job.owner, addresses=())
            self._out.append(ev.FetchProgram(self._ticket(job.id), job.spec.program, (holder,)))
        for guest_id in sorted(job.guests):
            guest = self.guests[guest_id]
            if guest.phase is Phase.OFFERED:
                self._want_grant(job, guest)
        self._deliver(
            job, [(kept, FromStore(OUTPUTS, task_key(job.id, i), kept.size)) for i, kept in sorted(job.untaken.items())]
        )
        self._progress(job, now, at_once=True)
        self._dirty = True

    def _put_inputs(self, peer: NodeId, message: say.PutInputs, body: tuple[Segment, ...], now: Instant) -> None:
        job = self._owned(peer, message.job)
        if job is None or not job.live or len(body) != len(message.indices):
            return
        if self._disk_full:
            self._say(peer, say.Refused(job=job.id, code=StoreFull.code, reason="the orchestrator's disk is full"))
            return
        writes: list[Write] = []
        for index, sealed in zip(message.indices, body, strict=True):
            if index < job.spec.tasks and len(sealed) <= MAX_TASK_BYTES and job.stored.add(index):
                job.sizes[index] = len(sealed)
                job.pending.append(index)
                writes.append(Put(INPUTS, task_key(job.id, index), sealed))
        self._write(*writes)
        kept = tuple(index for index in message.indices if index < job.spec.tasks and index in job.stored)
        self._say(peer, say.Stored(job=job.id, indices=kept))
        self._dirty = self._dirty or not job.guests
        self._feed(job, now)

    def _granted(self, peer: NodeId, message: say.Grant | say.Denied, now: Instant) -> None:
        job, guest = self._owned(peer, message.job), self.guests.get(GuestId(message.guest))
        if job is None or guest is None or guest.job != job.id or guest.phase is not Phase.OFFERED:
            return
        if isinstance(message, say.Denied):
            job.barred[guest.node] = f"its owner releases no key to it: {message.reason}"
            self._note(job, now, f"key denied to {guest.node[:4].hex()}: {message.reason}")
            self._close([guest], now)
            return
        guest.phase = Phase.GRANTED
        self._say(guest.node, message)

    def _taken(self, peer: NodeId, message: say.Taken) -> None:
        job = self._owned(peer, message.job)
        if job is None:
            return
        for index in message.indices:
            kept = job.untaken.pop(index, None)
            if kept is not None:
                key = task_key(job.id, index)
                done = msgspec.structs.replace(kept, taken=True)
                self._write(Put(RESULTS, key, codec.encode(done)), Drop(OUTPUTS, key), Drop(INPUTS, key))

    def _rejected(self, peer: NodeId, message: say.Rejected, now: Instant) -> None:
        job = self._owned(peer, message.job)
        kept = job.untaken.get(message.index) if job else None
        if job is None or kept is None or kept.item.attempt != message.attempt:
            return
        node = NodeId(kept.item.node)
        job.barred[node] = "it sent a result that does not open"
        self._note(job, now, f"result {message.index} of {node[:4].hex()} does not open; it runs again elsewhere")
        del job.untaken[message.index]
        job.finished.remove(message.index)
        key = task_key(job.id, message.index)
        self._write(Drop(RESULTS, key), Drop(OUTPUTS, key))
        self._close([g for g in map(self.guests.__getitem__, sorted(job.guests)) if g.node == node], now)
        job.pending.appendleft(message.index)
        if job.state is JobState.DONE:
            job.state = JobState.PENDING
            self._write(Put(JOBS, job.id, codec.encode(job.kept())))
        self._dirty = True
        self._feed(job, now)

    def _stop(self, peer: NodeId, job_id: JobId, now: Instant) -> None:
        job = self._owned(peer, job_id)
        if job is not None and job.live:
            self._end(job, JobState.STOPPED, "stopped by its owner", now)

    def _ask(self, peer: NodeId, message: say.Ask, now: Instant) -> None:
        job = self._owned(peer, message.job) if message.job else None
        answer, rows = answers.answer(self, peer, message, job, now)
        self._say(peer, answer, (codec.encode(rows),))

    # -- nodes and guests

    def _node_entered(self, node: Node, now: Instant) -> None:
        if node.id in self.nodes:
            self._node_lost(node.id, now)
        self.nodes[node.id] = node
        for job in self.jobs.values():
            self._admits.pop((job.id, node.id), None)
            job.strikes.pop(node.id, None)
        self._dirty = True

    def _node_lost(self, node_id: NodeId, now: Instant) -> None:
        node = self.nodes.get(node_id)
        if node is None or not node.up:
            return
        for guest_id in sorted(node.guests):
            guest = self.guests[guest_id]
            self._note(
                self.jobs[guest.job],
                now,
                f"node {node.report.name} is lost; {len(guest.outstanding)} tasks go elsewhere",
            )
            self._drop(guest, now)
        node.up, node.suspect = False, False
        node.holds.clear()
        self._dirty = True

    def _resume(self, peer: NodeId, message: say.Resume, now: Instant) -> None:
        node = self.nodes.get(peer)
        if node is None:
            return
        unwanted: list[bytes] = []
        for held in message.guests:
            job = self.jobs.get(JobId(held.job))
            if job is None or not job.live or GuestId(held.guest) in self.guests or peer in job.barred:
                unwanted.append(held.guest)
                continue
            self._adopt(node, job, held)
            self._feed(job, now)
        if unwanted:
            self._say(peer, say.CloseGuests(guests=tuple(unwanted)))
        self._dirty = True

    def _adopt(self, node: Node, job: Job, held: say.HeldGuest) -> None:
        guest = self._enrol(GuestId(held.guest), job, node)
        guest.receipt, guest.signature = held.receipt, held.signature
        guest.phase = Phase.SERVING if held.serving else (Phase.OFFERED if held.receipt else Phase.STARTING)
        for index, attempt in zip(held.indices, held.attempts, strict=False):
            if index < job.spec.tasks and index not in job.finished:
                guest.outstanding[AttemptId(attempt)] = index
                job.running.setdefault(index, AttemptId(attempt))
        if guest.phase is Phase.OFFERED:
            self._want_grant(job, guest)

    def _enrol(self, guest_id: GuestId, job: Job, node: Node) -> Guest:
        guest = Guest(guest_id, job.id, node.id)
        self.guests[guest_id] = guest
        job.guests.add(guest_id)
        node.guests.add(guest_id)
        return guest

    def _drop(self, guest: Guest, now: Instant) -> None:
        """Forget a guest; what it worked at goes back to the front of the queue."""
        job = self.jobs[guest.job]
        for attempt, index in reversed(guest.outstanding.items()):
            if job.running.get(index) == attempt:
                del job.running[index]
                job.pending.appendleft(index)
        del self.guests[guest.id]
        job.guests.discard(guest.id)
        self.nodes[guest.node].guests.discard(guest.id)
        self._dirty = True
        if job.live:
            self._feed(job, now)
            self._progress(job, now)

    def _close(self, guests: Iterable[Guest], now: Instant) -> None:
        by_node: dict[NodeId, list[bytes]] = {}
        for guest in list(guests):
            by_node.setdefault(guest.node, []).append(guest.id)
            self._drop(guest, now)
        for node, ids in by_node.items():
            for start in range(0, len(ids), 256):
                self._say(node, say.CloseGuests(guests=tuple(ids[start : start + 256])))

    def _guest_moved(
        self, peer: NodeId, message: say.GuestReady | say.GuestServing | say.GuestGone, now: Instant
    ) -> None:
        guest = self.guests.get(GuestId(message.guest))
        if guest is None or guest.node != peer or guest.job != message.job:
            return
        job = self.jobs[guest.job]
        match message:
            case say.GuestReady() if guest.phase is Phase.STARTING:
                guest.phase, guest.receipt, guest.signature = Phase.OFFERED, message.receipt, message.signature
                self._want_grant(job, guest)
            case say.GuestServing() if guest.phase is Phase.GRANTED:
                guest.phase = Phase.SERVING
                job.strikes.pop(guest.node, None)
                self._note(job, now, f"guest {guest.id[:4].hex()} serves on {self.nodes[peer].report.name}")
                self._feed(job, now)
                self._progress(job, now)
            case say.GuestGone():
                self._guest_gone(job, guest, message, now)
            case _:
                pass

    def _guest_gone(self, job: Job, guest: Guest, message: say.GuestGone, now: Instant) -> None:
        name = self.nodes[guest.node].report.name
        self._note(job, now, f"guest {guest.id[:4].hex()} on {name} ended: {message.code} {message.reason}"[:500])
        if guest.phase is not Phase.SERVING:
            self._strike(job, guest.node, f"{message.code}: {message.reason}"[:300], now)
        elif message.code in TASK_FAULTS and message.culprit is not None:
            self._blame(job, guest, AttemptId(message.culprit), message, now)
        if guest.id in self.guests:
            self._drop(guest, now)

    def _strike(self, job: Job, node: NodeId, reason: str, now: Instant) -> None:
        strike = job.strikes.setdefault(node, Strike(0, reason, now))
        strike.count, strike.reason = strike.count + 1, reason
        strike.until = Instant(now + self.config.strike_rest * 2.0**strike.count)
        if strike.count >= self.config.max_strikes:
            job.barred[node] = f"{strike.count} guests in a row did not start: {reason}"
        self._retry_at = earliest(self._retry_at, strike.until)

    def _blame(self, job: Job, guest: Guest, attempt: AttemptId, message: say.GuestGone, now: Instant) -> None:
        """A guest died at a task. Alone: that task's fault. Among others: suspect it, and run it alone from now on."""
        index = guest.outstanding.get(attempt)
        if index is None or index in job.finished:
            return
        alone = index in job.blamed and len(guest.outstanding) == 1
        job.blamed[index] = job.blamed.get(index, 0) + int(alone)
        if job.blamed[index] >= self.config.max_faults:
            guest.outstanding.pop(attempt)
            item = say.TaskResult(index=index, attempt=attempt, guest=guest.id, node=guest.node, code=message.code)
            self._finish(job, [(item, b"")], now)

    # -- tasks

    def _feed(self, job: Job, now: Instant) -> None:
        if not job.live:
            return
        serving = [self.guests[g] for g in sorted(job.guests) if self.guests[g].phase is Phase.SERVING]
        for guest in serving:
            if self.nodes[guest.node].suspect:
                continue
            indices = feeding.next_batch(job, guest, len(serving), self.config)
            if indices:
                self._run(job, guest, indices)
        if job.state is JobState.PENDING and serving:
            job.state, job.reason = JobState.RUNNING, ""
            self._progress(job, now)

    def _run(self, job: Job, guest: Guest, indices: list[int]) -> None:
        attempts: list[int] = []
        for index in indices:
            self._next_attempt += 1
            attempt = AttemptId(self._next_attempt)
            attempts.append(attempt)
            guest.outstanding[attempt] = index
            job.running[index] = attempt
        parts = tuple(FromStore(INPUTS, task_key(job.id, index), job.sizes[index]) for index in indices)
        message = say.RunTasks(job=job.id, guest=guest.id, indices=tuple(indices), attempts=tuple(attempts))
        self._say(guest.node, message, parts)

    def _tasks_ended(self, peer: NodeId, message: say.TasksEnded, body: tuple[Segment, ...], now: Instant) -> None:
        job, guest = self.jobs.get(JobId(message.job)), self.guests.get(GuestId(message.guest))
        count = len(message.indices)
        if (
            job is None
            or guest is None
            or guest.node != peer
            or guest.job != job.id
            or not count == len(body) == len(message.attempts)
        ):
            return
        guest.pace = feeding.smoothed(guest.pace, message.milliseconds / count)
        self.nodes[peer].suspect = False
        ended: list[tuple[say.TaskResult, Segment]] = []
        for index, attempt, sealed in zip(message.indices, message.attempts, body, strict=True):
            if guest.outstanding.get(AttemptId(attempt)) != index:
                continue  # not asked for: nothing of it is used
            del guest.outstanding[AttemptId(attempt)]
            code = Overran.code if len(sealed) > MAX_TASK_BYTES else ""
            item = say.TaskResult(index=index, attempt=attempt, guest=guest.id, node=peer, code=code)
            ended.append((item, b"" if code else sealed))
        self._finish(job, ended, now)
        self._feed(job, now)

    def _finish(self, job: Job, ended: Iterable[tuple[say.TaskResult, Segment]], now: Instant) -> None:
        """Take the first result of each task and no other; write it, then pass it on."""
        fresh: list[tuple[KeptResult, BodyPart]] = []
        writes: list[Write] = []
        for item, sealed in ended:
            if not job.live or not job.finished.add(item.index):
                continue
            job.running.pop(item.index, None)
            job.blamed.pop(item.index, None)
            job.failed += bool(item.code)
            kept = KeptResult(item=item, size=len(sealed))
            job.untaken[item.index] = kept
            key = task_key(job.id, item.index)
            writes += (Put(RESULTS, key, codec.encode(kept)), Put(OUTPUTS, key, sealed))
            fresh.append((kept, sealed))
        self._write(*writes)
        if job.owner in self.owners:
            self._deliver(job, fresh)
        if job.live and job.finished.full:
            state = JobState.FAILED if job.failed else JobState.DONE
            self._end(job, state, f"{job.failed} of {job.spec.tasks} tasks failed" if job.failed else "", now)
        elif fresh:
            self._progress(job, now)

    def _deliver(self, job: Job, results: list[tuple[KeptResult, BodyPart]]) -> None:
        batch: list[tuple[KeptResult, BodyPart]] = []
        size = 0
        for kept, part in results:
            if batch and (len(batch) >= self.config.result_batch or size + kept.size > self.config.batch_bytes):
                self._say_results(job, batch)
                batch, size = [], 0
            batch.append((kept, part))
            size += kept.size
        if batch:
            self._say_results(job, batch)

    def _say_results(self, job: Job, batch: list[tuple[KeptResult, BodyPart]]) -> None:
        message = say.Results(job=job.id, items=tuple(kept.item for kept, _ in batch))
        self._say(job.owner, message, tuple(part for _, part in batch))

    def _end(self, job: Job, state: JobState, reason: str, now: Instant) -> None:
        job.state, job.reason = state, reason
        self._note(job, now, f"{state}{': ' + reason if reason else ''}")
        self._close([self.guests[g] for g in sorted(job.guests)], now)
        job.running.clear()
        job.pending.clear()
        self._write(Put(JOBS, job.id, codec.encode(job.kept())))
        self._progress(job, now, at_once=True)
        self._dirty = True

    # -- placement

    def _plan(self, now: Instant) -> None:
        if not self._dirty or self._solving or self._ready_at is not None:
            return
        self._dirty = False
        jobs = [job for job in self.jobs.values() if self._wanted(job) > 0]
        nodes = [node for node in self.nodes.values() if node.up and not node.suspect]
        if jobs and not any(node.free for node in nodes):
            self._free_idle(now)
        facts = [placement.NodeFacts(node=n.id, report=n.report, free=n.free, survival=1.0) for n in nodes if n.free]
        if jobs and facts:
            wants = [
                placement.JobFacts(spec=j.spec, wanted=self._wanted(j), barred=self._resting(j, now)) for j in jobs
            ]
            problem = placement.formulate(wants, facts, self._admitted)
            if problem.allowed.any():
                self._solving = True
                self._out.append(ev.Solve(self._ticket(problem), problem))
        for job in jobs:
            self._explain_wait(job, now)

    def _admitted(self, spec: JobSpec, report: CapabilityReport) -> bool:
        return not admission.refusals(spec, report)

    def _wanted(self, job: Job) -> int:
        if not job.live or not job.has_program or job.owner not in self.owners:
            return 0
        queued = len(job.pending) + len(job.running)
        return max(0, min(queued, job.remaining) - len(job.guests))

    def _resting(self, job: Job, now: Instant) -> frozenset[NodeId]:
        return frozenset(job.barred) | {node for node, strike in job.strikes.items() if strike.until > now}

    def _free_idle(self, now: Instant) -> None:
        """Another job waits for slots: guests with nothing left to do make room."""
        idle = [
            g
            for g in self.guests.values()
            if g.phase is Phase.SERVING and not g.outstanding and self.jobs[g.job].next_pending() is None
        ]
        self._close(idle, now)

    def _place(self, problem: Problem, answer: Placement, now: Instant) -> None:
        placement.check(problem, answer)
        for row, job_id in enumerate(problem.jobs):
            job = self.jobs.get(job_id)
            for column in answer.guests[row].nonzero()[0]:
                node = self.nodes.get(problem.nodes[column])
                if job is not None and node is not None and node.up:
                    count = min(int(answer.guests[row][column]), node.free, self._wanted(job))
                    self._open(job, node, count, now)

    def _open(self, job: Job, node: Node, count: int, now: Instant) -> None:
        if count <= 0:
            return
        ids = tuple(GuestId(self._entropy.draw(GUEST_ID_BYTES)) for _ in range(count))
        for guest_id in ids:
            self._enrol(guest_id, job, node)
        holders = [
            n
            for n in self.nodes.values()
            if n.up and n.id != node.id and job.spec.program.id in n.holds and n.addresses
        ][:4]
        for holder in holders:
            self._say(holder.id, say.Expect(program=job.spec.program, peers=(node.id,)))
        contacts = tuple(Contact(peer=n.id, addresses=n.addresses) for n in holders)
        self._say(node.id, say.OpenGuests(spec=job.spec, owner=job.owner, guests=ids, holders=contacts))
        self._note(job, now, f"{count} guest(s) asked of {node.report.name}")

    def _explain_wait(self, job: Job, now: Instant) -> None:
        if job.state is JobState.PENDING and not job.guests:
            reason = answers.waiting(self, job)
            if reason != job.reason:
                job.reason = reason
                self._note(job, now, f"waits: {reason}")
                self._progress(job, now, at_once=True)

    # -- work

    def _work_done(self, ticket: int, result: object, now: Instant) -> None:
        subject = self._work.pop(ticket, None)
        if isinstance(subject, Problem):
            self._solving = False
            try:
                self._place(subject, result, now)  # type: ignore[arg-type]
            except PropolisError as error:  # a wrong solver costs a round, never a rule
                self._retry_at = earliest(self._retry_at, Instant(now + 1.0))
                for job in self.jobs.values():
                    if job.live:
                        self._note(job, now, f"placement rejected: {error}")
        elif subject is not None and subject in self.jobs:
            job = self.jobs[subject]
            job.has_program, job.fetching = True, False
            self._dirty = True

    def _work_failed(self, ticket: int, code: str, reason: str, now: Instant) -> None:
        subject = self._work.pop(ticket, None)
        if isinstance(subject, Problem):
            self._solving = False
            self._retry_at = earliest(self._retry_at, Instant(now + 1.0))
        elif subject is not None and subject in self.jobs:
            job = self.jobs[subject]
            job.fetching = False
            job.reason = f"its program did not arrive: {code} {reason}"[:500]
            self._note(job, now, job.reason)
            if code == StoreFull.code:
                self._end(job, JobState.FAILED, job.reason, now)
            elif job.owner in self.owners:
                self._resync(job, now)

    # -- time

    def _tick(self, now: Instant) -> None:
        if self._ready_at is not None and now >= self._ready_at:
            self._ready_at, self._dirty = None, True
        if self._retry_at is not None and now >= self._retry_at:
            later = [s.until for job in self.jobs.values() for s in job.strikes.values() if s.until > now]
            self._retry_at, self._dirty = min(later, default=None), True
        for job in self.jobs.values():
            if job.progress_due is not None and now >= job.progress_due:
                self._progress(job, now, at_once=True)

    def _touch_all(self, now: Instant) -> None:
        for job in self.jobs.values():
            if job.live and not job.guests:
                self._explain_wait(job, now)

    def _progress(self, job: Job, now: Instant, *, at_once: bool = False) -> None:
        if not at_once:
            if job.progress_due is None:
                job.progress_due = Instant(now + self.config.progress_every)
            return
        job.progress_due = None
        if job.owner in self.owners:
            nodes = {self.guests[g].node for g in job.guests}
            self._say(
                job.owner,
                say.Progress(
                    job=job.id,
                    state=job.state,
                    finished=job.finished.count,
                    running=len(job.running),
                    guests=len(job.guests),
                    nodes=len(nodes),
                    reason=job.reason[:900],
                ),
            )

    # -- small

    def _ticket(self, subject: JobId | Problem) -> int:
        self._next_ticket += 1
        self._work[self._next_ticket] = subject
        return self._next_ticket

    def _want_grant(self, job: Job, guest: Guest) -> None:
        self._say(job.owner, say.GrantWanted(job=job.id, receipt=guest.receipt, signature=guest.signature))

    def _say(self, peer: NodeId, message: Message, parts: tuple[BodyPart, ...] = ()) -> None:
        self._out.append(Mail(peer, message, parts))

    def _write(self, *writes: Write) -> None:
        if writes:
            self._out.append(Persist(writes))

    def _note(self, job: Job, now: Instant, text: str) -> None:
        job.events.append(f"{now - job.born:8.2f} s  {text}")
