"""Why a job waits, in one sentence that is true: busy only where busy, silent only where silent."""

from propolis.decisions.privacy import requirement_for
from propolis.protocols.jobs import answers
from propolis.protocols.jobs.book import Job, Node
from propolis.protocols.jobs.desk import Desk, DispatcherConfig
from propolis.runtime.known import known_today
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.identity import GuestId, NodeId
from propolis.terms.job import BlobRef, JobSpec, Kind
from propolis.terms.time import Instant

OWNER = NodeId(bytes(32))


def desk_with(*nodes, tasks=2):
    desk = Desk(None, 0, known_today(), DispatcherConfig())
    desk.owners.add(OWNER)
    desk.nodes.update((node.id, node) for node in nodes)
    spec = JobSpec(
        job=bytes(16), name="j", kind=Kind.FUNCTION, tasks=tasks, program=BlobRef(blob=bytes(32), size=1),
        requirement=requirement_for("trusted-lenders"),
    )  # fmt: skip
    job = Job(spec, OWNER, Instant(0.0))
    job.has_program = True
    job.stored.add(0)
    desk.jobs[job.id] = job
    return desk, job


def node(n, *, guests=0, suspect=False):
    report = CapabilityReport(
        name=f"n{n}", system="linux", machine="x86_64", python="3.11.7", slots=1, memory_mb=2048, speed=1.0,
        isolation=Isolation(rung=Rung.NAMESPACES), packages=(), kinds=("function",),
    )  # fmt: skip
    made = Node(NodeId(bytes([n]) * 32), report, ())
    made.guests.update(GuestId(bytes([g]) * 16) for g in range(guests))
    made.suspect = suspect
    return made


def waiting(desk, job):
    return answers.waiting(desk, job, answers.Up(desk))


def test_busy_is_said_only_of_nodes_that_are():
    assert waiting(*desk_with(node(1))) == "its guests are being placed"
    assert waiting(*desk_with(node(1, guests=1), node(2))) == "its guests are being placed"
    assert waiting(*desk_with(node(1, guests=1))) == "every node that may run it is busy"


def test_silent_is_said_only_of_nodes_that_are():
    assert waiting(*desk_with(node(1, suspect=True))) == "every node that may run it is silent (1)"
    assert waiting(*desk_with(node(1, guests=1), node(2, suspect=True))).endswith("busy or silent (1)")
    assert waiting(*desk_with()) == "no node is connected"
