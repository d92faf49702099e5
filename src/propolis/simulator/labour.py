"""How long the work of the jobs family takes in virtual time, and what its answers are: a cost model, no cryptography.

Compute time comes from a task's size in GFLOP and the machine's drawn speed in GFLOP/s. Seals are not computed here; their
correctness is tested where they are. Receipts are signed for real: who checks them is the code under simulation.
"""

import msgspec

from propolis.adapters.solver.greedy import GreedySolver
from propolis.crypto import identity
from propolis.messages import codec
from propolis.ports.executor import GuestOrder, TaskInput, TaskOutput
from propolis.ports.solver import Solver
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import Action, WorkDone
from propolis.simulator.kernel import Kernel
from propolis.terms.capability import CapabilityReport
from propolis.terms.credential import Credential
from propolis.terms.identity import GuestId, NodeId
from propolis.terms.job import Receipt

GUEST_SECONDS = 0.2
FETCH_SECONDS = 0.5
CALL_SECONDS = 0.001


class Simulated(msgspec.Struct, frozen=True):
    """One simulated machine: its identity's seed, what it says of itself, who invited it."""

    seed: bytes
    report: CapabilityReport
    credential: Credential


class Labour:
    """Answers the work of every party in one world. `gflop` = 10**9 operations of one task."""

    def __init__(self, gflop: float) -> None:
        self._gflop = gflop
        self._busy: dict[bytes, float] = {}  # guest -> until when it computes
        self._solver: Solver = GreedySolver()
        self.machines: dict[NodeId, Simulated] = {}
        self.results: dict[int, int] = {}  # task -> how often its owner opened a result of it
        self.ran: set[bytes] = set()  # nodes whose results were opened
        self.attempts = 0

    def __call__(self, kernel: Kernel, name: NodeId, action: Action) -> None:
        """Answer one action of `name`, now or later."""
        match action:
            case ev.Solve(ticket=ticket, problem=problem):
                kernel.post(CALL_SECONDS, name, WorkDone(ticket, self._solver.solve(problem)))
            case ev.FetchProgram(ticket=ticket):
                kernel.post(FETCH_SECONDS, name, WorkDone(ticket))
            case ev.StartGuest(ticket=ticket, order=order):
                kernel.post(GUEST_SECONDS, name, WorkDone(ticket, self._started(name, order)))
            case ev.GrantGuest(ticket=ticket):
                kernel.post(GUEST_SECONDS, name, WorkDone(ticket))
            case ev.FeedGuest(guest=guest, inputs=inputs):
                self._compute(kernel, name, guest, inputs)
            case ev.KillGuest(guest=guest):
                kernel.post(0.01, name, ev.GuestEnded(guest, "executor.crashed", "ended"))
            case ev.SealGrant(ticket=ticket):
                kernel.post(CALL_SECONDS, name, WorkDone(ticket, b"grant"))
            case ev.OpenResults(ticket=ticket, items=items):
                for item in items:
                    self.results[item.index] = self.results.get(item.index, 0) + 1
                    self.ran.add(item.node)
                kernel.post(CALL_SECONDS, name, WorkDone(ticket, [True] * len(items)))
            case _:
                pass

    def _started(self, name: NodeId, order: GuestOrder) -> ev.Started:
        machine = self.machines[name]
        receipt = Receipt(
            node=name,
            job=order.job,
            guest=order.guest,
            guest_key=bytes(32),
            isolation=machine.report.isolation,
            credential=machine.credential,
        )
        data = codec.encode(receipt)
        return ev.Started(data, identity.sign(machine.seed, identity.RECEIPT, data))

    def _compute(self, kernel: Kernel, name: NodeId, guest: bytes, inputs: tuple[TaskInput, ...]) -> None:
        """One guest computes in order, at its machine's speed."""
        each = self._gflop / self.machines[name].report.speed
        start = max(kernel.now, self._busy.get(guest, 0.0))
        self.attempts += len(inputs)
        self._busy[guest] = start + each * len(inputs)
        step = max(1, len(inputs) // 4)
        for first in range(0, len(inputs), step):
            part = inputs[first : first + step]
            outputs = tuple(
                TaskOutput(index=item.index, attempt=item.attempt, sealed=b"result", milliseconds=each * 1e3)
                for item in part
            )
            done = start + each * (first + len(part))
            kernel.post(done - kernel.now, name, ev.GuestReported(GuestId(guest), outputs))
