"""The dispatcher's records: jobs, guests and nodes, with what is kept of each in the store."""

from array import array
from collections import Counter, deque
from enum import StrEnum

import msgspec

from propolis.messages.envelope import Segment
from propolis.messages.jobs import TaskResult
from propolis.messages.rows import MAX_EVENTS
from propolis.protocols.jobs.bits import Bits
from propolis.terms.capability import CapabilityReport
from propolis.terms.credential import Credential
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import AttemptId, BlobId, GuestId, JobId, NodeId
from propolis.terms.job import JobSpec, JobState
from propolis.terms.time import Instant

JOBS = "jobs"  # job -> JobRow
INPUTS = "inputs"  # job + index -> sealed input
RESULTS = "results"  # job + index -> KeptResult
GRANTED = "granted"  # job + guest -> Granted; the owner's: who holds a key, and which
OUTPUTS = "outputs"  # job + index -> sealed result, until the owner has it


class KeptJob(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the store keeps of a job."""

    spec: JobSpec
    owner: bytes
    state: JobState
    reason: str = ""


class KeptResult(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the store keeps of a finished task. `size` in bytes of the sealed result; `taken` = the owner has it."""

    item: TaskResult
    size: int
    taken: bool = False


class Phase(StrEnum):
    """Where a guest stands."""

    STARTING = "starting"
    OFFERED = "offered"  # its receipt waits for the owner
    GRANTED = "granted"
    SERVING = "serving"


class Guest:
    """One guest as the dispatcher sees it."""

    __slots__ = (
        "armed", "born", "due", "ended", "evidence", "heard", "id", "job", "node", "outstanding", "pace", "phase", "receipt",
        "retiring", "signature",
    )  # fmt: skip

    def __init__(self, guest: GuestId, job: JobId, node: NodeId, now: Instant) -> None:
        self.id = guest
        self.job = job
        self.node = node
        self.phase = Phase.STARTING
        self.outstanding: dict[AttemptId, int] = {}
        self.pace = 0.0  # milliseconds per task, smoothed; 0 = unknown
        self.receipt = b""
        self.signature = b""
        self.evidence: tuple[Segment, ...] = ()  # until its owner was asked and answered
        self.born = now
        self.heard = now  # its last result, or the first batch after it had nothing to do
        self.ended = 0  # results accepted
        self.due: Instant | None = None  # its node must have said something by then
        self.armed: Instant | None = None  # the alarm that stands for it
        self.retiring = False  # gets nothing new, and leaves when it has nothing left to do


class Node:
    """One node as the dispatcher sees it."""

    __slots__ = (
        "addresses",
        "credential",
        "ek",
        "guests",
        "holds",
        "id",
        "proven",
        "report",
        "suspect",
        "unproven",
        "up",
    )

    def __init__(
        self,
        node: NodeId,
        report: CapabilityReport,
        addresses: tuple[str, ...],
        credential: Credential | None = None,
    ) -> None:
        self.id = node
        self.credential = credential
        self.report = report
        self.proven: Proven = NOTHING
        self.unproven = ""  # why nothing is proven, where it tried
        self.ek = b""  # Name of its endorsement key, once it showed to hold it
        self.addresses = addresses
        self.up = True
        self.suspect = False
        self.guests: set[GuestId] = set()
        self.holds: set[BlobId] = set()

    @property
    def free(self) -> int:
        """Guest slots free."""
        return max(0, self.report.slots - len(self.guests))


class Strike(msgspec.Struct):
    """Guests of one job that did not serve on one node: how many, why, until when it rests, and when the last was."""

    count: int
    reason: str
    until: Instant
    at: Instant


class Blame(msgspec.Struct):
    """A task that guests died at runs alone. `nodes` = those it died on, with how often alone there."""

    nodes: dict[NodeId, int] = msgspec.field(default_factory=dict)
    rests_until: Instant = Instant(float("-inf"))  # on the nodes it died on

    @property
    def alone(self) -> set[NodeId]:
        """Nodes it died on when run alone."""
        return {node for node, count in self.nodes.items() if count}


class Job:
    """One job as the dispatcher sees it."""

    def __init__(self, spec: JobSpec, owner: NodeId, now: Instant) -> None:
        self.spec = spec
        self.owner = owner
        self.state = JobState.PENDING
        self.reason = ""
        self.born = now
        self.has_program = False
        self.fetching = False
        self.unfetched = 0  # how often its program did not arrive
        self.fetch_at = Instant(float("-inf"))  # not asked for before
        self.stored = Bits(spec.tasks)
        self.finished = Bits(spec.tasks)
        self.sizes = array("I", bytes(4 * spec.tasks))  # sealed input sizes
        self.pending: deque[int] = deque()  # stored and not running; may hold stale indices, skipped when popped
        self.running: dict[int, AttemptId] = {}
        self.untaken: dict[int, KeptResult] = {}
        self.failed = 0
        self.held = ""  # why nothing new of it begins: no room for results
        self.fault = ""  # what the last failed task died of
        self.guests: set[GuestId] = set()
        self.serving = 0  # how many of them serve
        self.unloaded: dict[NodeId, tuple[Instant, int]] = {}  # where it did not load: when last, how often
        self.blamed: dict[int, Blame] = {}  # presence = run it alone
        self.refuted: Counter[NodeId] = Counter()  # weight of faults that did not happen elsewhere
        self.oversized: dict[int, NodeId] = {}  # who first sent a result over the limit
        self.input_bytes = 0
        self.lost: set[int] = set()  # were with a guest that ended; told when they run again
        self.strikes: dict[NodeId, Strike] = {}
        self.barred: dict[NodeId, str] = {}
        self.events: deque[str] = deque(maxlen=MAX_EVENTS)
        self.progress_due: Instant | None = None
        self.tail_due: Instant | None = None  # idle guests look then for tasks that run far too long
        self.typical = 0.0  # seconds per task as seen from here, smoothed; 0 = unknown
        self.doubled: set[int] = set()  # run in a second guest as well
        self.served: set[NodeId] = set()  # nodes a result was accepted of
        self.holds: Counter[NodeId] = Counter()  # guests per node
        self.ungranted = 0  # guests in a row its owner said nothing about
        self.rests_until = Instant(float("-inf"))

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self.spec.id

    @property
    def live(self) -> bool:
        """Whether there is anything left to do."""
        return self.state in (JobState.PENDING, JobState.RUNNING)

    @property
    def remaining(self) -> int:
        """Tasks not finished."""
        return self.spec.tasks - self.finished.count

    def next_pending(self) -> int | None:
        """Return the next index to run, without taking it; drops stale ones."""
        while self.pending:
            index = self.pending[0]
            if index in self.finished or index in self.running:
                self.pending.popleft()
            else:
                return index
        return None

    def kept(self) -> KeptJob:
        """Return what the store keeps."""
        return KeptJob(spec=self.spec, owner=self.owner, state=self.state, reason=self.reason[:500])


def task_key(job: JobId, index: int) -> bytes:
    """Return the row key of one task."""
    return job + index.to_bytes(4, "big")
