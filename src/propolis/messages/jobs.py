"""Messages of the job protocol (docs/specs/job.md). Ciphertext travels in the packet's body, one segment per listed item."""

from typing import Annotated

import msgspec

from propolis.terms.bound import MAX_BOUND
from propolis.terms.contact import Contact
from propolis.terms.identity import Id16, Id32, Ticket
from propolis.terms.job import MAX_TASKS, BlobRef, JobSpec, JobState

Index = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Attempt = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Code = Annotated[str, msgspec.Meta(max_length=60)]
Reason = Annotated[str, msgspec.Meta(max_length=1000)]
Indices = Annotated[tuple[Index, ...], msgspec.Meta(max_length=4096)]
Tasks = Annotated[int, msgspec.Meta(ge=0, le=MAX_TASKS)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]  # of guests, nodes, rows

MAX_BATCH_MS = 1e13  # 4096 tasks of what one may tell (messages/guest.py)


class _Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    pass


# owner -> orchestrator


class Submit(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="submit"):
    """Ask for a job. Said again after every reconnect; the same id and spec is the same job."""

    spec: JobSpec


class PutInputs(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="put-inputs"):
    """Sealed inputs; body: one segment per index."""

    job: Id16
    indices: Indices


class Grant(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="grant"):
    """The roots, sealed to one guest's key. Passed on to the node as it is."""

    job: Id16
    guest: Id16
    sealed: Annotated[bytes, msgspec.Meta(max_length=MAX_BOUND)]


class Denied(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="denied"):
    """The owner releases no key to this guest, and says which claim was missing."""

    job: Id16
    guest: Id16
    reason: Reason


class Taken(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="taken"):
    """These results are safe with the owner; the orchestrator forgets their bytes."""

    job: Id16
    indices: Indices


class Rejected(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="rejected"):
    """A result did not open; run the task again, elsewhere."""

    job: Id16
    index: Index
    attempt: Attempt


class Stop(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="stop"):
    """End a job now; finished results stay."""

    job: Id16


class Ask(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="ask"):
    """A question: "nodes", "jobs", or "explain" with a job."""

    request: Ticket
    what: Annotated[str, msgspec.Meta(max_length=20)]
    job: Annotated[bytes, msgspec.Meta(max_length=16)] = b""


# orchestrator -> owner


class Accepted(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="accepted"):
    """The job is kept. Body: two bitmaps over task indices, least significant bit first: inputs stored, tasks finished."""

    job: Id16


class Refused(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="refused"):
    """The job can never run, or may not: with the code and the reason."""

    job: Id16
    code: Code
    reason: Reason


class Stored(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="stored"):
    """These inputs are durable with the orchestrator."""

    job: Id16
    indices: Indices


class GrantWanted(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="grant-wanted"):
    """A guest is ready. `receipt` are the exact bytes the node signed; body: the machine's evidence, as in GuestReady."""

    job: Id16
    receipt: Annotated[bytes, msgspec.Meta(max_length=4096)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class TaskResult(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One finished task: which attempt in which guest made the sealed bytes. `code` is set when it failed for good."""

    index: Index
    attempt: Attempt
    guest: Annotated[bytes, msgspec.Meta(max_length=16)]
    node: Annotated[bytes, msgspec.Meta(max_length=32)]
    code: Code = ""


class Results(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="results"):
    """Finished tasks; body: one segment per item (empty when `code` is set)."""

    job: Id16
    items: Annotated[tuple[TaskResult, ...], msgspec.Meta(max_length=4096)]


class Progress(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="progress"):
    """Where a job stands; sent on change, at most a few times per second."""

    job: Id16
    state: JobState
    finished: Tasks
    running: Tasks
    guests: Count
    nodes: Count
    reason: Reason = ""


class Answer(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="answer"):
    """The answer to an Ask; body: one encoded Rows. Lists are cut at 1,000 rows, `total` says of how many."""

    request: Ticket
    total: Count = 0
    reason: Reason = ""


# orchestrator -> node


class OpenGuests(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="open-guests"):
    """Start one guest per id for this job; fetch its program from the holders."""

    spec: JobSpec
    owner: Id32
    guests: Annotated[tuple[Id16, ...], msgspec.Meta(max_length=256)]
    holders: Annotated[tuple[Contact, ...], msgspec.Meta(max_length=4)] = ()


class RunTasks(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="run-tasks"):
    """Run these in order in this guest; body: one sealed input per index."""

    job: Id16
    guest: Id16
    indices: Indices
    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=4096)]


class CloseGuests(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="close-guests"):
    """End these guests and whatever they were doing."""

    guests: Annotated[tuple[Id16, ...], msgspec.Meta(max_length=256)]


class Expect(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="expect"):
    """These members may come to you for sealed chunks of this program."""

    program: BlobRef
    peers: Annotated[tuple[Id32, ...], msgspec.Meta(max_length=4096)]


# node -> orchestrator


class HeldGuest(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A guest that outlived a session: where it stands and what it still works at."""

    job: Id16
    guest: Id16
    serving: bool
    receipt: Annotated[bytes, msgspec.Meta(max_length=4096)]
    signature: Annotated[bytes, msgspec.Meta(max_length=64)]
    indices: Indices
    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=4096)]


class Resume(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="resume"):
    """First words of a node after Welcome: the guests it still has. Results not yet taken follow as TasksEnded.

    Body, of a message with one guest that waits for its grant: its evidence, as in GuestReady.
    """

    guests: Annotated[tuple[HeldGuest, ...], msgspec.Meta(max_length=256)]


class GuestReady(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="guest-ready"):
    """The guest runs and made its key; the receipt goes to the owner.

    Body, where the job has a challenge: the machine's evidence for this guest: an encoded Evidence, and its two logs.
    """

    job: Id16
    guest: Id16
    receipt: Annotated[bytes, msgspec.Meta(max_length=4096)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class GuestServing(
    _Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="guest-serving"
):
    """The guest has opened its grant and the program, and takes tasks."""

    job: Id16
    guest: Id16


class GuestGone(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="guest-gone"):
    """The guest ended. `culprit` = the attempt it was working at, if its end is that task's doing."""

    job: Id16
    guest: Id16
    code: Code
    reason: Reason
    culprit: Attempt | None = None


class TasksEnded(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="tasks-ended"):
    """Sealed results; body: one segment per item."""

    job: Id16
    guest: Id16
    indices: Indices
    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=4096)]
    milliseconds: Annotated[
        float, msgspec.Meta(ge=0, le=MAX_BATCH_MS)
    ]  # compute time of the whole batch, as the guest tells it


class HasProgram(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="has-program"):
    """This node keeps the job's sealed program and serves it to others."""

    program: BlobRef


JobMessage = (
    Submit | PutInputs | Grant | Denied | Taken | Rejected | Stop | Ask
    | Accepted | Refused | Stored | GrantWanted | Results | Progress | Answer
    | OpenGuests | RunTasks | CloseGuests | Expect | Resume | GuestReady | GuestServing | GuestGone | TasksEnded | HasProgram
)  # fmt: skip
