"""A job as everyone but its owner sees it: sizes, needs and requirement. Nothing in here is private."""

from enum import StrEnum
from typing import Annotated

import msgspec

from propolis.terms.capability import Isolation, Offer
from propolis.terms.credential import Credential, Moment, Signature
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import BlobId, GuestId, Id16, Id32, JobId, NodeId
from propolis.terms.requirement import Requirement

MAX_TASKS = 1_000_000
MAX_MEMORY_MB = 1_048_576
MAX_GRANTED = 65_536  # guests that one job's keys go to
MAX_GRANTED_EACH = MAX_GRANTED // 8  # and of these on one machine: none takes them all from the others
MAX_TASK_BYTES = 8 * 1024 * 1024  # ciphertext of one task's input or result
MAX_HELD_TASKS = 1024  # tasks one guest was given and did not end (docs/specs/job.md, step 7)
MAX_HELD_BYTES = 64 * 1024 * 1024  # and their sealed inputs
MAX_PROGRAM_BYTES = 2 * 1024 * 1024 * 1024  # ciphertext of a program; also the most an ONNX model can have (protobuf)


class Kind(StrEnum):
    """The two kinds of work."""

    INFERENCE = "inference"  # program = ONNX bytes, input and result = named tensors
    FUNCTION = "function"  # program = Python source and entry name, input and result = plain values and arrays


class BlobRef(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A ciphertext blob by name. `size` in bytes."""

    blob: Id32
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_PROGRAM_BYTES)]

    @property
    def id(self) -> BlobId:
        """The name as a typed id."""
        return BlobId(self.blob)


Packages = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=100)], ...], msgspec.Meta(max_length=64)]
"""Like "numpy>=2": what a guest can import."""


class Needs(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What one guest of the job needs. Matched against what the lender offers; nothing is installed for it."""

    memory_mb: Annotated[int, msgspec.Meta(ge=64, le=MAX_MEMORY_MB)] = 1024
    task_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    packages: Packages = ()
    python: Annotated[str, msgspec.Meta(max_length=20)] = ""  # "" = any; ">=3.11" style otherwise


class Challenge(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What the owner wants to see of the machine under each guest: these registers, bound to a nonce of this job."""

    nonce: Id32
    pcrs: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=23)], ...], msgspec.Meta(min_length=1, max_length=24)]
    bank: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What the owner asks for, as the orchestrator and the nodes may know it."""

    job: Id16
    name: Annotated[str, msgspec.Meta(max_length=100)]
    kind: Kind
    tasks: Annotated[int, msgspec.Meta(ge=1, le=MAX_TASKS)]
    program: BlobRef
    requirement: Requirement
    needs: Needs = Needs()
    challenge: Challenge | None = None  # set where the requirement rests on hardware (docs/specs/job.md, step 5a)

    @property
    def id(self) -> JobId:
        """The id, typed."""
        return JobId(self.job)


class JobState(StrEnum):
    """Where a job stands, as its owner sees it."""

    PENDING = "pending"  # no node may run it now; the reason is stated
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    REFUSED = "refused"  # it can never run
    FAILED = "failed"  # at least one task failed for good


class Receipt(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What a node says, over its signature, of one guest: which job, which key, which isolation was reached.

    The signature binds node, job, guest and key; it proves who said it, not that it is true.
    """

    node: Id32
    job: Id16
    guest: Id16
    guest_key: Id32  # X25519, made inside the guest
    isolation: Isolation
    offer: Offer = Offer()  # the lender's terms, signed

    credential: Credential | None = None  # the operator's word on the node; without it no owner releases a key

    @property
    def node_id(self) -> NodeId:
        """The node, typed."""
        return NodeId(self.node)

    @property
    def guest_id(self) -> GuestId:
        """The guest, typed."""
        return GuestId(self.guest)


class Granted(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What an owner keeps of a guest it gave a job's key to: the node's exact words, its signature, and when, by our clock."""

    receipt: Annotated[bytes, msgspec.Meta(max_length=4096)]  # a Receipt, as it was signed
    signature: Signature
    at: Moment
    proven: Annotated[Proven, msgspec.Meta(max_length=8)] = NOTHING  # what its machine proved to us by then
