"""A declared run of the job protocol: so many nodes, so much loss, so many kills; returns what happened as one record.

Who is there, what goes wrong and when; how long work takes is simulator/labour.py's. The rest is the real parties' doing.
"""

import random
import time

import msgspec

from propolis.adapters.store.memory import MemoryStore
from propolis.crypto import credential, identity
from propolis.decisions.guarantees import Known, read_table
from propolis.decisions.privacy import requirement_for
from propolis.messages.membership import Role
from propolis.parties.member import MemberParty
from propolis.parties.node import node_party
from propolis.parties.orchestrator import OrchestratorParty
from propolis.parties.owner import OwnerParty, owner_party
from propolis.ports.store import Put
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import INPUTS, task_key
from propolis.protocols.link.terms import LinkConfig
from propolis.runtime.known import table_bytes
from propolis.simulator.kernel import Kernel
from propolis.simulator.labour import Labour, Simulated
from propolis.simulator.network import LinkModel, Network
from propolis.simulator.population import device
from propolis.simulator.trace import Trace
from propolis.terms.contact import Contact
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import BlobRef, JobSpec, Kind, Needs
from propolis.terms.time import Instant

TABLE = read_table(table_bytes())
KNOWN = Known(table=TABLE, date=TABLE.date)  # virtual time has no calendar: the day of the table
LINK = LinkConfig(resend=1.5)
INVITATION = b"one invitation for all, simulated".ljust(32)[:32]


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
        labour = Labour(scenario.gflop)
        self.kernel = Kernel(
            scenario.seed, network, labour, checking=scenario.checking, encode=scenario.encode, trace=trace
        )
        self.hub = _name(b"hub", 0)
        self.owner = _name(b"owner", 0)
        self.contact = Contact(peer=self.hub, addresses=("sim",))
        self.labour = labour
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
            proof = credential.take(INVITATION, granted, name, until=0, joined=0)
            self.labour.machines[name] = Simulated(seed, device(number, self.dice), proof)
            token, writes = hub.registrar.invite(Role.NODE)
            kernel.commit(self.hub, writes)
            kernel.add(name, self._node_party(name, token))
        token, _ = hub.registrar.invite(Role.OWNER, operator=True)
        kernel.add(self.owner, self._owner_party(token))
        kernel.commit(self.owner, [Put(INPUTS, task_key(self.job, index), b"sealed") for index in range(s.tasks)])
        kernel.post(1.0, self.owner, ev.SubmitAsked(self._spec(), [6] * s.tasks))

    def _node_party(self, name: NodeId, token: bytes = b"") -> MemberParty:
        report = self.labour.machines[name].report
        return node_party(self.kernel.dice(name), self.contact, report, KNOWN, node=name, token=token, link=LINK)

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
        rows = self.kernel.stores.setdefault(self.hub, MemoryStore())
        party = OrchestratorParty.restored(self.kernel.dice(self.hub), rows, KNOWN, Instant(self.kernel.now), link=LINK)
        self.kernel.commit(self.hub, party.first_writes().writes)
        return party

    # -- trouble

    def trouble(self) -> list[tuple[float, str, NodeId]]:
        """Draw who dies when, and who comes back."""
        s = self.s
        victims = self.dice.sample(sorted(self.labour.machines), min(s.kills, s.nodes))
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
                kernel.add(victim, self._node_party(victim))
        elif what == "hub":
            kernel.kill(self.hub)
            kernel.run(kernel.now + 2.0)
            kernel.add(self.hub, self._boot_hub())

    def done(self) -> bool:
        return len(self.labour.results) == self.s.tasks


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
        finished=len(world.labour.results),
        exactly_once=world.done() and set(world.labour.results.values()) == {1},
        makespan=round(makespan, 3),
        steps=world.kernel.trace.steps,
        wall=round(time.perf_counter() - started, 2),
        killed=killed,
        nodes_used=len(world.labour.ran),
        attempts=world.labour.attempts,
    )
