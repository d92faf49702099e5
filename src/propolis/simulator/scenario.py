"""A declared run of the job protocol: so many nodes, so much loss, so many kills; returns what happened as one record.

The answers to work are a cost model: compute time from a task's size in GFLOP and the machine's drawn speed in GFLOP/s.
Seals are not computed here; their correctness is tested where they are. Everything else is the real parties' doing.
"""

import random
import time

import msgspec

from propolis.adapters.solver.greedy import GreedySolver
from propolis.crypto import credential, identity
from propolis.decisions.guarantees import Known, read_table
from propolis.decisions.privacy import requirement_for
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.parties.node import node_party
from propolis.parties.orchestrator import OrchestratorParty, restore
from propolis.parties.owner import OwnerParty, owner_party
from propolis.ports.executor import TaskInput, TaskOutput
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import INPUTS, JOBS, RESULTS, task_key
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import Action, WorkDone
from propolis.protocols.membership.registrar import INVITES, MEMBERS
from propolis.runtime.known import table_bytes
from propolis.simulator.kernel import Kernel
from propolis.simulator.network import LinkModel, Network
from propolis.simulator.population import device
from propolis.simulator.trace import Trace
from propolis.terms.capability import CapabilityReport
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import BlobRef, JobSpec, Kind, Needs, Receipt
from propolis.terms.time import Instant

TABLE = read_table(table_bytes())
KNOWN = Known(table=TABLE, date=TABLE.date)  # virtual time has no calendar: the day of the table
LINK = LinkConfig(resend=1.5)
GUEST_SECONDS = 0.2
INVITATION = b"one invitation for all, simulated".ljust(32)[:32]
FETCH_SECONDS = 0.5


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `gflop` = 10**9 operations, work of one task; `kills` nodes die at random moments, `returns` come back."""

    seed: int = 1
    nodes: int = 1000
    tasks: int = 20_000
    gflop: float = 4.0
    loss: float = 0.02
    kills: int = 50
    returns: int = 25
    orchestrator_kills: int = 0
    horizon: float = 600.0
    checking: int = 0
    encode: bool = False


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. Times in virtual seconds except `wall`; `exactly_once` = every task once from the owner's view."""

    fingerprint: str
    finished: int
    exactly_once: bool
    makespan: float
    steps: int
    wall: float
    killed: int
    nodes_used: int
    attempts: int


class _Run:
    """One run's state."""

    def __init__(self, scenario: Scenario, trace: Trace | None) -> None:
        self.s = scenario
        self.dice = random.Random(scenario.seed)  # noqa: S311  a simulation must repeat
        network = Network(LinkModel(loss=scenario.loss), random.Random(scenario.seed + 1))  # noqa: S311
        self.kernel = Kernel(
            scenario.seed, network, self.work, checking=scenario.checking, encode=scenario.encode, trace=trace
        )
        self.hub = _name(b"hub", 0)
        self.owner = _name(b"owner", 0)
        self.contact = Contact(peer=self.hub, addresses=("sim",))
        self.devices: dict[NodeId, CapabilityReport] = {}
        self.seeds: dict[NodeId, bytes] = {}
        self.credentials: dict[NodeId, Credential] = {}
        self.results: dict[int, int] = {}
        self.ran: set[bytes] = set()
        self.busy: dict[bytes, float] = {}
        self.attempts = 0
        self.boots = 0
        self.solver = GreedySolver()
        self.job = JobId(self.dice.randbytes(16))

    def build(self) -> None:
        s, kernel = self.s, self.kernel
        kernel.add(self.hub, self._boot_hub())
        hub = kernel.parties[self.hub]
        assert isinstance(hub, OrchestratorParty)
        operator = _seed(b"owner", 0)
        granted = credential.grant(lambda c, d: identity.sign(operator, c, d), self.hub, Role.NODE, INVITATION, 0)
        for number in range(s.nodes):
            seed = _seed(b"node", number)
            name = identity.public_of(seed)
            self.seeds[name], self.devices[name] = seed, device(number, self.dice)
            self.credentials[name] = credential.take(INVITATION, granted, name, until=0, joined=0)
            token, writes = hub.registrar.invite(Role.NODE)
            kernel.commit(self.hub, writes)
            report = self.devices[name]
            kernel.add(name, node_party(kernel.dice(name), self.contact, report, KNOWN, token=token, link=LINK))
        token, _ = hub.registrar.invite(Role.OWNER, operator=True)
        kernel.add(self.owner, self._owner_party(token))
        rows = kernel.stores[self.owner]
        for index in range(s.tasks):
            rows[INPUTS, task_key(self.job, index)] = b"sealed"
        kernel.post(1.0, self.owner, ev.SubmitAsked(self._spec(), [6] * s.tasks))

    def _owner_party(self, token: bytes) -> OwnerParty:
        dice = self.kernel.dice(self.owner)
        return owner_party(dice, self.contact, KNOWN, operator=self.owner, token=token, link=LINK)

    def _spec(self) -> JobSpec:
        return JobSpec(
            job=self.job,
            name="simulated",
            kind=Kind.FUNCTION,
            tasks=self.s.tasks,
            program=BlobRef(blob=bytes(32), size=1),
            requirement=requirement_for("trusted-lenders"),
            needs=Needs(memory_mb=512),
        )

    def _boot_hub(self) -> OrchestratorParty:
        self.boots += 1
        party = OrchestratorParty(self.kernel.dice(self.hub), self.boots, KNOWN, link=LINK)
        rows = sorted(self.kernel.stores.get(self.hub, {}).items())

        def table(wanted: str) -> list[tuple[bytes, bytes]]:
            return [(key, value) for (name, key), value in rows if name == wanted]

        members = [(name, key, value) for name in (MEMBERS, INVITES) for key, value in table(name)]
        sizes = [(key, len(value)) for key, value in table(INPUTS)]
        restore(party, members, [v for _, v in table(JOBS)], sizes, table(RESULTS), Instant(self.kernel.now))
        return party

    # -- the world's answers

    def work(self, kernel: Kernel, name: NodeId, action: Action) -> None:
        match action:
            case ev.Solve(ticket=ticket, problem=problem):
                kernel.post(0.001, name, WorkDone(ticket, self.solver.solve(problem)))
            case ev.FetchProgram(ticket=ticket):
                kernel.post(FETCH_SECONDS, name, WorkDone(ticket))
            case ev.StartGuest(ticket=ticket, order=order):
                receipt = Receipt(
                    node=name,
                    job=order.job,
                    guest=order.guest,
                    guest_key=bytes(32),
                    isolation=self.devices[name].isolation,
                    credential=self.credentials[name],
                )
                data = codec.encode(receipt)
                signature = identity.sign(self.seeds[name], identity.RECEIPT, data)
                kernel.post(GUEST_SECONDS, name, WorkDone(ticket, ev.Started(data, signature)))
            case ev.GrantGuest(ticket=ticket):
                kernel.post(GUEST_SECONDS, name, WorkDone(ticket))
            case ev.FeedGuest(guest=guest, inputs=inputs):
                self._compute(kernel, name, guest, inputs)
            case ev.KillGuest(guest=guest):
                kernel.post(0.01, name, ev.GuestEnded(guest, "executor.crashed", "ended"))
            case ev.SealGrant(ticket=ticket):
                kernel.post(0.001, name, WorkDone(ticket, b"grant"))
            case ev.OpenResults(ticket=ticket, items=items):
                for item in items:
                    self.results[item.index] = self.results.get(item.index, 0) + 1
                    self.ran.add(item.node)
                kernel.post(0.001, name, WorkDone(ticket, [True] * len(items)))
            case _:
                pass

    def _compute(self, kernel: Kernel, name: NodeId, guest: bytes, inputs: tuple[TaskInput, ...]) -> None:
        """One guest computes in order, at its machine's speed."""
        each = self.s.gflop / self.devices[name].speed
        start = max(kernel.now, self.busy.get(guest, 0.0))
        self.attempts += len(inputs)
        self.busy[guest] = start + each * len(inputs)
        step = max(1, len(inputs) // 4)
        for first in range(0, len(inputs), step):
            part = inputs[first : first + step]
            outputs = tuple(
                TaskOutput(index=item.index, attempt=item.attempt, sealed=b"result", milliseconds=each * 1e3)
                for item in part
            )
            done = start + each * (first + len(part))
            kernel.post(done - kernel.now, name, ev.GuestReported(GuestId(guest), outputs))

    # -- trouble

    def trouble(self) -> list[tuple[float, str, NodeId]]:
        """Draw who dies when, and who comes back."""
        s = self.s
        victims = self.dice.sample(sorted(self.devices), min(s.kills, s.nodes))
        plan: list[tuple[float, str, NodeId]] = []
        for number, victim in enumerate(victims):
            at = self.dice.uniform(5.0, 40.0)
            plan.append((at, "kill" if number % 3 else "cut", victim))
            if number < s.returns:
                plan.append((at + self.dice.uniform(8.0, 20.0), "return", victim))
        plan += [(self.dice.uniform(8.0, 30.0), "hub", self.hub) for _ in range(s.orchestrator_kills)]
        return sorted(plan)

    def strike(self, what: str, victim: NodeId) -> None:
        kernel = self.kernel
        if what == "cut":
            kernel.network.cut(victim)
        elif what == "kill" and victim in kernel.parties:
            kernel.kill(victim)
        elif what == "return":
            kernel.network.heal(victim)
            if victim not in kernel.parties:
                party = node_party(kernel.dice(victim), self.contact, self.devices[victim], KNOWN, link=LINK)
                kernel.add(victim, party)
        elif what == "hub":
            kernel.kill(self.hub)
            kernel.run(kernel.now + 2.0)
            kernel.add(self.hub, self._boot_hub())

    def done(self) -> bool:
        return len(self.results) == self.s.tasks


def _seed(kind: bytes, number: int) -> bytes:
    return (kind + number.to_bytes(4, "big")).ljust(32, b"\x00")


def _name(kind: bytes, number: int) -> NodeId:
    return identity.public_of(_seed(kind, number))


def run(scenario: Scenario, trace: Trace | None = None) -> Summary:
    """Run a scenario to its end or its horizon."""
    started = time.perf_counter()
    world = _Run(scenario, trace)
    world.build()
    killed = 0
    for at, what, victim in world.trouble():
        if world.done():
            break
        world.kernel.run(at, world.done)
        world.kernel.now = max(world.kernel.now, at) if not world.done() else world.kernel.now
        world.strike(what, victim)
        killed += what != "return"
    world.kernel.run(scenario.horizon, world.done)
    makespan = world.kernel.now
    world.kernel.run(makespan + 2.0)  # late duplicates would show here
    return Summary(
        fingerprint=world.kernel.trace.fingerprint,
        finished=len(world.results),
        exactly_once=world.done() and set(world.results.values()) == {1},
        makespan=round(makespan, 3),
        steps=world.kernel.trace.steps,
        wall=round(time.perf_counter() - started, 2),
        killed=killed,
        nodes_used=len(world.ran),
        attempts=world.attempts,
    )
