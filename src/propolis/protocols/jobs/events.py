"""The work that the machines of the jobs family ask for, and what an owner's client asks of them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from propolis.crypto.tpm.bound import Machine
from propolis.messages.envelope import Message, Segment
from propolis.messages.jobs import TaskResult
from propolis.ports.executor import GuestOrder, TaskInput, TaskOutput
from propolis.protocols.machine import Action, Event, Work
from propolis.terms.contact import Contact
from propolis.terms.credential import SignedRemovals
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import BlobRef, Challenge, JobSpec, Receipt
from propolis.terms.placement import Problem
from propolis.terms.policy import SignedPolicy

# -- work asked of the orchestrator's world


class Solve(Work, frozen=True):
    """Answered by WorkDone(result=Placement)."""

    problem: Problem


class FetchProgram(Work, frozen=True):
    """Get a sealed program from the holders into our blob store; WorkDone when it is whole."""

    program: BlobRef
    holders: tuple[Contact, ...]


class DropProgram(Action, frozen=True):
    """Forget a sealed program."""

    program: BlobRef


# -- work asked of a node's world


class StartGuest(Work, frozen=True):
    """Start a guest; WorkDone(result=Started). `challenge`: let the machine vouch for its key."""

    order: GuestOrder
    challenge: Challenge | None = None


class Started(msgspec.Struct, frozen=True):
    """A guest's receipt: the exact bytes and the node's signature over them; and the machine's evidence, if it was asked for."""

    receipt: bytes
    signature: bytes
    evidence: tuple[Segment, ...] = ()


class GrantGuest(Work, frozen=True):
    """Hand a guest its grant and program; WorkDone when it serves. `challenged`: the grant is sealed to the machine as well."""

    guest: GuestId
    sealed: bytes
    program: BlobRef
    challenged: bool = False


class FeedGuest(Action, frozen=True):
    """Queue sealed inputs; answered by GuestReported and, at its end, GuestEnded."""

    guest: GuestId
    inputs: tuple[TaskInput, ...]


class KillGuest(Action, frozen=True):
    """End a guest for certain; no answer."""

    guest: GuestId


class GuestReported(Event, frozen=True):
    """A guest finished some tasks."""

    guest: GuestId
    outputs: tuple[TaskOutput, ...]


class GuestEnded(Event, frozen=True):
    """A guest is gone by itself or by a limit."""

    guest: GuestId
    code: str
    reason: str


# -- work asked of an owner's world


class SealGrant(Work, frozen=True):
    """Seal the job's roots to a guest's key in the owner's key home; WorkDone(result=bytes).

    `machine`: seal what came out once more, to this machine alone. `emulated`: what it proved rests on an emulated TPM.
    """

    job: JobId
    guest: GuestId
    guest_key: bytes
    node: NodeId
    machine: Machine | None = None
    emulated: bool = False


class OpenResults(Work, frozen=True):
    """Open sealed results; WorkDone(result=list[bool]): which of them opened and were handed to the client."""

    job: JobId
    items: tuple[TaskResult, ...]
    sealed: tuple[Segment, ...]


# -- what an owner's client asks of its party


class SubmitAsked(Event, frozen=True):
    """Submit a job whose sealed inputs are in the owner's store; `sizes` in bytes per index.

    `finished` = bitmap of the results kept already; `granted` = receipts of the guests that hold a key already.
    """

    spec: JobSpec
    sizes: Sequence[int]
    finished: bytes = b""
    granted: tuple[Receipt, ...] = ()


class PolicyMade(Event, frozen=True):
    """The operator, who is this owner, signed a new policy."""

    signed: SignedPolicy


class StopAsked(Event, frozen=True):
    """Stop a job."""

    job: JobId


class RemovalsMade(Event, frozen=True):
    """The operator, who is this owner, signed a new list of removals."""

    signed: SignedRemovals


class QuestionAsked(Event, frozen=True):
    """Ask the orchestrator; answered by Tell(Answered)."""

    ticket: int
    what: str
    job: bytes = b""


class Answered(msgspec.Struct, frozen=True):
    """Note to the client: the answer to a question."""

    ticket: int
    rows: Any
    total: int
    reason: str


class JobMoved(msgspec.Struct, frozen=True):
    """Note to the client: where a job stands (a Progress message), or that it was refused or accepted."""

    job: JobId
    message: Message
