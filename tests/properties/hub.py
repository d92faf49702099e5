"""One dispatcher with honest members around it, driven by hand: its answers are packed as the wire would pack them."""

import msgspec

from propolis.adapters.solver.greedy import GreedySolver
from propolis.crypto import identity
from propolis.decisions.privacy import requirement_for
from propolis.messages import envelope
from propolis.messages import jobs as say
from propolis.ports.store import Put
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.dispatcher import Dispatcher
from propolis.protocols.machine import FromStore, Mail, TimePassed, WorkDone
from propolis.runtime.known import known_today
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.job import BlobRef, JobSpec, Kind

JOB, GUEST = b"j" * 16, b"g" * 16
SEED = b"n" * 32
KNOWN = known_today()
HUB, OWNER, NODE, EVIL = b"h" * 32, b"o" * 32, identity.public_of(SEED), b"e" * 32
POOL = (JOB, GUEST, OWNER, NODE, EVIL, b"p" * 32)
REPORT = CapabilityReport(
    name="n", system="linux", machine="x86_64", python="3.11", slots=2, memory_mb=2048, speed=1.0,
    isolation=Isolation(rung=Rung.NAMESPACES),
)  # fmt: skip
SPEC = JobSpec(
    job=JOB, name="t", kind=Kind.FUNCTION, tasks=20, program=BlobRef(blob=b"p" * 32, size=1),
    requirement=requirement_for("trusted-lenders"),
)  # fmt: skip


class Zero:
    """Entropy that repeats nothing."""

    def __init__(self):
        self.n = 0

    def draw(self, size):
        self.n += 1
        return self.n.to_bytes(size, "big")


class Hub:
    """A dispatcher with one honest owner and node, and answers to its work."""

    def __init__(self):
        self.machine, self.rows, self.now, self.said = Dispatcher(Zero(), 1, KNOWN), {}, 0.0, []
        self.solver = GreedySolver()

    def tell(self, event):
        self.now += 0.3
        todo = [event]
        while todo:
            for output in self.machine.handle(todo.pop(0), self.now):
                if isinstance(output, ev.Solve):
                    todo.append(WorkDone(output.ticket, self.solver.solve(output.problem)))
                elif isinstance(output, ev.FetchProgram):
                    todo.append(WorkDone(output.ticket))
                elif isinstance(output, Mail):
                    self.pack(output)
                elif hasattr(output, "writes"):
                    self.rows.update(((w.table, w.key), w.value) for w in output.writes if isinstance(w, Put))
            self.machine.check()

    def pack(self, mail):
        body = tuple(b"x" * p.size if isinstance(p, FromStore) else p for p in mail.parts)
        head = envelope.Envelope(
            version=envelope.VERSION, epoch=1, seen=1, seq=1, ack=1, message=mail.message, sizes=tuple(map(len, body))
        )
        raw = b"".join(map(bytes, envelope.pack(envelope.Packet(head, body))))
        (back,) = envelope.FrameReader().feed(raw)
        assert back.envelope.message == mail.message
        self.said.append((mail.peer, mail.message))

    def said_to(self, peer, kind):
        return [message for who, message in self.said if who == peer and isinstance(message, kind)]

    def wait(self, seconds):
        """Let time pass, waking the machine when it asked to be woken and at no other moment."""
        end = self.now + seconds
        while (due := self.machine.deadline()) is not None and due <= end:
            self.now = max(self.now, due) - 0.3
            self.tell(TimePassed())
        self.now = end

    def guests(self, node, job=JOB):
        return [g for g in self.machine.desk.guests.values() if g.node == node and g.job == job]

    def upload(self, spec=SPEC, owner=OWNER):
        self.tell(session.OwnerEntered(owner))
        self.tell(session.Said(owner, say.Submit(spec=spec), ()))
        for start in range(0, spec.tasks, 4000):
            part = tuple(range(start, min(spec.tasks, start + 4000)))
            self.tell(session.Said(owner, say.PutInputs(job=spec.job, indices=part), (b"i" * 20,) * len(part)))

    def enter(self, *nodes, **changes):
        for node in nodes:
            self.tell(session.NodeEntered(node, msgspec.structs.replace(REPORT, **changes), ()))

    def step(self, node, job=JOB, grant=True, results=True):
        """The honest node and owner take one step with each guest of a job on the node."""
        for guest in self.guests(node, job):
            owner = self.machine.desk.jobs[job].owner
            if guest.phase == "starting":
                ready = say.GuestReady(job=job, guest=guest.id, receipt=b"r", signature=bytes(64))
                self.tell(session.Said(node, ready, ()))
            elif guest.phase == "offered" and grant:
                self.tell(session.Said(owner, say.Grant(job=job, guest=guest.id, sealed=b"s"), ()))
            elif guest.phase == "granted":
                self.tell(session.Said(node, say.GuestServing(job=job, guest=guest.id), ()))
            elif guest.outstanding and results:
                self.results(guest, b"sealed")

    def results(self, guest, sealed):
        pairs = dict(guest.outstanding)
        ended = say.TasksEnded(
            job=guest.job, guest=guest.id, indices=tuple(pairs.values()), attempts=tuple(pairs), milliseconds=1.0
        )
        self.tell(session.Said(guest.node, ended, (sealed,) * len(pairs)))

    def serving(self, node, job=JOB):
        """Bring the node's guests up to serving; returns them."""
        for _ in range(4):
            self.step(node, job, results=False)
        return [guest for guest in self.guests(node, job) if guest.phase == "serving"]


def finish(hub, rounds=200):
    """The honest node and owner do their part until the job is over."""
    for _ in range(rounds):
        desk = hub.machine.desk
        job = desk.jobs[JOB]
        if job.finished.full:
            return
        for guest in [g for g in desk.guests.values() if g.node == NODE and g.job == JOB]:
            if guest.phase == "starting":
                hub.tell(
                    session.Said(NODE, say.GuestReady(job=JOB, guest=guest.id, receipt=b"r", signature=bytes(64)), ())
                )
            elif guest.phase == "offered":
                hub.tell(session.Said(OWNER, say.Grant(job=JOB, guest=guest.id, sealed=b"s"), ()))
            elif guest.phase == "granted":
                hub.tell(session.Said(NODE, say.GuestServing(job=JOB, guest=guest.id), ()))
            elif guest.outstanding:
                pairs = dict(guest.outstanding)
                ended = say.TasksEnded(
                    job=JOB, guest=guest.id, indices=tuple(pairs.values()), attempts=tuple(pairs), milliseconds=1.0
                )
                hub.tell(session.Said(NODE, ended, (b"sealed",) * len(pairs)))
        for other in [g for g in desk.guests.values() if g.node == NODE and g.job != JOB]:
            hub.tell(
                session.Said(
                    NODE, say.GuestGone(job=other.job, guest=other.id, code="executor.crashed", reason="x"), ()
                )
            )
        hub.tell(TimePassed())
