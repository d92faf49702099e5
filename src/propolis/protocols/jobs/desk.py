"""The dispatcher's desk: all it knows, what it wants said, written and done, and which jobs need a look when the step ends.

The rooms around it (intake, hosting, ledger, feeding, planning) change the desk and never call each other in circles:
a job that may need tasks is put into `hungry`, a guest that must go into `leaving`, and `settle` in the dispatcher deals
with both once per event.
"""

import heapq
from collections import Counter
from enum import IntEnum

import msgspec

from propolis.decisions.guarantees import Known
from propolis.decisions.verdicts import Verdicts
from propolis.messages.envelope import Message
from propolis.ports.entropy import Entropy
from propolis.ports.store import Write
from propolis.protocols.jobs.book import Guest, Job, Node, Phase
from propolis.protocols.machine import Action, BodyPart, Mail, Persist
from propolis.terms.identity import AttemptId, GuestId, JobId, NodeId
from propolis.terms.placement import Problem
from propolis.terms.time import Instant

Output = Action | Mail


class Alarm(IntEnum):
    """What an alarm is about."""

    PLAN = 0
    GUEST = 1
    PROGRESS = 2
    TAIL = 3
    FEED = 4
    RETIRED = 5


class DispatcherConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times; seconds, counts, bytes."""

    max_jobs_per_owner: int = 1000
    max_tasks_per_owner: int = 4_000_000
    max_input_bytes_per_owner: int = 64 << 30
    max_output_bytes_per_owner: int = 64 << 30  # results its client did not take yet
    max_program_bytes_per_owner: int = 32 << 30
    max_faults: int = 3
    max_refuted: int = 6  # tasks that ended on a node and ran elsewhere; three where it ran them alone
    boot_grace: float = 2.0
    progress_every: float = 0.25
    batch_bytes: int = 4 * 1024 * 1024
    batch_tasks: int = 512
    target_ms: float = 200.0
    strike_rest: float = 0.5
    strike_decay: float = 120.0
    max_strikes: int = 5
    boot_limit: float = 30.0  # what a node gives a start itself
    grant_limit: float = 30.0
    load_limit: float = 75.0  # and the time its program takes to arrive
    program_speed: float = 1024.0 * 1024.0
    serve_slack: float = 30.0  # beside task_seconds: a batch on a slow line
    tail_every: float = 0.5
    tail_patience: float = 2.0
    tail_factor: float = 4.0
    max_planned_jobs: int = 256  # in one round
    max_unserved: int = 64  # guests of one job on one node before it accepted a result of it
    resume_limit: float = (
        180.0  # what a node had when it was lost, it may still have: its guests live 60 s without a session
    )
    result_batch: int = 256


class Desk:
    """Shared state of the dispatcher's rooms."""

    def __init__(self, entropy: Entropy, boot: int, known: Known, config: DispatcherConfig) -> None:
        self.entropy = entropy
        self.verdicts = Verdicts(known)
        self.config = config
        self.jobs: dict[JobId, Job] = {}
        self.guests: dict[GuestId, Guest] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.owners: set[NodeId] = set()
        self.work: dict[int, Job | Problem] = {}
        self.hungry: dict[JobId, dict[GuestId, None] | None] = {}  # None = all its guests; ordered, so traces repeat
        self.leaving: dict[GuestId, None] = {}
        self.dirty = False  # placement may have changed
        self.disk_full = False
        self.spilled = False  # not even results have room
        self.now = Instant(0.0)  # of the event at hand
        self.alarms: list[tuple[Instant, int, Alarm, bytes]] = []
        self.inputs: Counter[NodeId] = Counter()  # bytes kept per owner
        self.outputs: Counter[NodeId] = Counter()
        self.plans: set[Instant] = set()
        self.opened: dict[NodeId, Instant] = {}  # owner -> when it last got a guest
        self.planned = 0  # jobs considered by rounds that could not consider all
        self.out: list[Output] = []
        self._last_attempt = self._first_attempt = boot << 40  # attempts never repeat across restarts
        self.reborn = Instant(float("-inf"))  # when this boot took up what an earlier one left
        self.parted: dict[
            NodeId, tuple[Instant, dict[AttemptId, int]]
        ] = {}  # node -> when it was lost, and its tasks then
        self._last_ticket = 0
        self._last_alarm = 0

    # -- what it wants

    def say(self, peer: NodeId, message: Message, parts: tuple[BodyPart, ...] = ()) -> None:
        """Send a message when the step ends."""
        self.out.append(Mail(peer, message, parts))

    def write(self, *writes: Write) -> None:
        """Keep rows before anything of this step leaves."""
        if writes:
            self.out.append(Persist(writes))

    def do(self, action: Action) -> None:
        """Ask for an action."""
        self.out.append(action)

    def ticket(self, subject: Job | Problem) -> int:
        """Return a fresh ticket; its answer is about `subject`."""
        self._last_ticket += 1
        self.work[self._last_ticket] = subject
        return self._last_ticket

    def attempt(self) -> AttemptId:
        """Return a fresh attempt number."""
        self._last_attempt += 1
        return AttemptId(self._last_attempt)

    @property
    def resuming(self) -> bool:
        """Whether nodes may still come back with what an earlier boot gave them."""
        return self.now < self.reborn + self.config.resume_limit

    def given(self, node: NodeId, attempt: AttemptId, index: int) -> bool:
        """Return whether the node may still have this attempt of the task: it had it when it was lost, or of an earlier boot."""
        if 0 < attempt <= self._first_attempt:
            return self.resuming
        lost, had = self.parted.get(node, (self.now, {}))
        return self.now < lost + self.config.resume_limit and had.get(attempt) == index

    def retry(self, at: Instant) -> None:
        """Plan again at `at` or earlier."""
        if at not in self.plans:
            self.plans.add(at)
            self.alarm(at, Alarm.PLAN, b"")

    def alarm(self, at: Instant, what: Alarm, subject: bytes) -> None:
        """Look at the subject at `at`; an alarm is never taken back, whoever it wakes looks whether it still means him."""
        self._last_alarm += 1
        heapq.heappush(self.alarms, (at, self._last_alarm, what, subject))

    def watch(self, guest: Guest) -> None:
        """A guest took a step: from now on its next one is waited for."""
        wait = self._patience(guest)
        guest.due = None if wait is None else Instant(self.now + wait)
        if guest.due is not None and (guest.armed is None or guest.armed > guest.due):
            self.arm(guest)

    def arm(self, guest: Guest) -> None:
        """Set the alarm of a guest that something is waited of."""
        if guest.due is not None:
            guest.armed = guest.due
            self.alarm(guest.due, Alarm.GUEST, guest.id)

    def _patience(self, guest: Guest) -> float | None:
        """Return how long a guest may take to its next step.

        A guest ends a task after task_seconds itself, and every result is told when it is there: more than that and the
        line's slack without one is silence, however many tasks it holds.
        """
        config, spec = self.config, self.jobs[guest.job].spec
        match guest.phase:
            case Phase.STARTING:
                return config.boot_limit
            case Phase.OFFERED:
                return config.grant_limit
            case Phase.GRANTED:
                return config.load_limit + spec.program.size / config.program_speed
            case Phase.SERVING:
                return spec.needs.task_seconds + config.serve_slack if guest.outstanding else None

    # -- what it knows

    @property
    def known(self) -> Known:
        """What is known of technologies, and the day it is read on."""
        return self.verdicts.known

    def owned(self, peer: NodeId, job: bytes) -> Job | None:
        """Return the job if it is the peer's."""
        found = self.jobs.get(JobId(job))
        return found if found is not None and found.owner == peer else None

    def guests_of(self, job: Job) -> list[Guest]:
        """Return the job's guests in a stable order."""
        return [self.guests[guest] for guest in sorted(job.guests)]

    def held_back(self, job: Job) -> str:
        """Return why nothing new of the job begins, whatever the nodes offer; "" when it may."""
        if self.disk_full:
            return "the orchestrator's disk is full; it goes on when there is room"
        most = self.config.max_output_bytes_per_owner
        if self.outputs[job.owner] <= most:
            return ""
        return (
            f"results you did not take fill your quota for them, {most / 1048576:.4g} MiB; it goes on when they are taken:"
            " propolis fetch JOB"
        )

    def wanted(self, job: Job) -> int:
        """Return how many more guests the job could use now."""
        if not job.live or not job.has_program or job.owner not in self.owners or self.now < job.rests_until:
            return 0
        if self.held_back(job):
            return 0
        queued = len(job.pending) + len(job.running)
        return max(0, min(queued, job.remaining) - len(job.guests))

    def feed_all(self, job: Job) -> None:
        """Look at all guests of the job when the step ends."""
        self.hungry[job.id] = None

    def feed_one(self, guest: Guest) -> None:
        """Look at this guest when the step ends."""
        wanted = self.hungry.setdefault(guest.job, {})
        if wanted is not None:
            wanted[guest.id] = None

    # -- guests

    def enrol(self, guest_id: GuestId, job: Job, node: Node) -> Guest:
        """Note a new guest."""
        guest = Guest(guest_id, job.id, node.id, self.now)
        self.guests[guest_id] = guest
        job.guests.add(guest_id)
        job.holds[node.id] += 1
        node.guests.add(guest_id)
        return guest

    def drop(self, guest: Guest) -> None:
        """Forget a guest; what it worked at goes back to the front of the queue."""
        job = self.jobs[guest.job]
        for attempt, index in reversed(guest.outstanding.items()):
            if job.running.get(index) == attempt:
                del job.running[index]
                job.pending.appendleft(index)
                job.lost.add(index)
                job.doubled.discard(index)
        del self.guests[guest.id]
        self.leaving.pop(guest.id, None)
        job.guests.discard(guest.id)
        job.holds[guest.node] -= 1
        if not job.holds[guest.node]:
            del job.holds[guest.node]
        self.nodes[guest.node].guests.discard(guest.id)
        job.serving -= guest.phase is Phase.SERVING
        self.feed_all(job)
        self.dirty = True

    def note(self, job: Job, now: Instant, text: str) -> None:
        """Write a line into the job's story."""
        job.events.append(f"{now - job.born:8.2f} s  {text}"[:900])
