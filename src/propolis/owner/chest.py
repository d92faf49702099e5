"""What an owner's client keeps on its own disk: its jobs, their secrets, sealed inputs and results. Mode 0600, never sent.

Whoever can read this file can read the owner's jobs: it is as private as the owner's own machine.
docs/specs/job.md numbers the steps cited here.
"""

import secrets
from typing import Annotated

import msgspec

from propolis.crypto import granting, sealing
from propolis.crypto.tpm import bound
from propolis.decisions.appraisal.member import Row
from propolis.decisions.appraisal.policy import Policy
from propolis.messages import codec, values
from propolis.messages.jobs import TaskResult
from propolis.ports.store import DropPrefix, Put, Store
from propolis.protocols import policies, removals
from propolis.protocols.jobs import vouching
from propolis.protocols.jobs.bits import Bits
from propolis.protocols.jobs.book import GRANTED, INPUTS, OUTPUTS, RESULTS, KeptResult, task_key
from propolis.protocols.jobs.events import SealGrant
from propolis.terms.credential import Credential, SignedRemovals
from propolis.terms.errors import MalformedMessage, SealBroken
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import Challenge, Granted, JobSpec, Receipt
from propolis.terms.policy import PolicyOrder, SignedPolicy
from propolis.terms.requirement import Level, Requirement

OWNED = "owned"
MAX_ROOTS = 4096


class Owned(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One of our jobs."""

    spec: JobSpec
    secret: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    bare_array: bool = False  # inference over one array: give one array back
    born: float = 0.0


class Chest:
    """Jobs and secrets over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._roots: dict[tuple[JobId, GuestId], bytes] = {}

    @staticmethod
    def fresh_secret() -> bytes:
        """Return a job secret (step 1)."""
        return secrets.token_bytes(sealing.SECRET_BYTES)

    def add(self, owned: Owned, inputs: list[bytes]) -> list[int]:
        """Seal and keep a job's inputs with the job, in one commit. Returns the sealed sizes. Raises StoreFull."""
        job = owned.spec.id
        root = sealing.input_root(owned.secret, job)
        sealed = [sealing.seal_input(root, job, index, plain) for index, plain in enumerate(inputs)]
        writes = [Put(INPUTS, task_key(job, index), data) for index, data in enumerate(sealed)]
        self._store.commit([Put(OWNED, job, codec.encode(owned)), *writes])
        return [len(data) for data in sealed]

    def jobs(self) -> dict[JobId, Owned]:
        """Return every job kept."""
        return {JobId(key): codec.decode(value, Owned) for key, value in self._store.scan(OWNED)}

    def sizes(self, owned: Owned) -> list[int]:
        """Return the sealed sizes of a job's inputs; 0 where they were dropped after the end."""
        sizes = [0] * owned.spec.tasks
        for key, size in self._store.sizes(INPUTS, owned.spec.id):
            sizes[int.from_bytes(key[16:], "big")] = size
        return sizes

    def finished(self, owned: Owned) -> Bits:
        """Return which results are kept."""
        bits = Bits(owned.spec.tasks)
        for key, _ in self._store.sizes(RESULTS, owned.spec.id):
            bits.add(int.from_bytes(key[16:], "big"))
        return bits

    def results(self, owned: Owned) -> dict[int, tuple[TaskResult, values.Outcome | None]]:
        """Open every result kept; None where the task failed for good."""
        found: dict[int, tuple[TaskResult, values.Outcome | None]] = {}
        for key, value in self._store.scan(RESULTS, owned.spec.id):
            kept: KeptResult = codec.decode(value, KeptResult)
            sealed = self._store.get(OUTPUTS, key) or b""
            found[kept.item.index] = (kept.item, self.open(owned, kept.item, sealed))
        return found

    def open(self, owned: Owned, item: TaskResult, sealed: bytes) -> values.Outcome | None:
        """Open one result (step 8). Raises SealBroken, MalformedMessage; None for a task that failed for good."""
        if item.code:
            return None
        guest = GuestId(item.guest)
        root = self._roots.get((owned.spec.id, guest))
        if root is None:
            if len(self._roots) >= MAX_ROOTS:  # a cache: whoever names guests without end costs time, not memory
                self._roots.clear()
            row = self._store.get(GRANTED, owned.spec.id + guest)
            if row is None:
                raise SealBroken("no guest of this id was ever given a key")
            receipt: Receipt = codec.decode(codec.decode(row, Granted).receipt, Receipt)
            root = sealing.result_root(owned.secret, owned.spec.id, guest, receipt.guest_key)
            self._roots[owned.spec.id, guest] = root
        outcome: values.Outcome = codec.decode(
            sealing.open_result(root, owned.spec.id, guest, item.index, item.attempt, sealed), values.Outcome
        )
        return outcome

    def opens(self, owned: Owned, item: TaskResult, sealed: bytes) -> values.Outcome | bool | None:
        """Like `open`, but False when it does not open."""
        try:
            return self.open(owned, item, sealed)
        except (SealBroken, MalformedMessage):
            return False

    def grant(self, owned: Owned, work: SealGrant) -> bytes:
        """Seal the roots to a guest (step 6), and to its machine where it proved itself (6b). Raises SealBroken, Rejected."""
        job = owned.spec.id
        sealed = granting.seal_grant(owned.secret, job, work.guest, work.guest_key)
        if work.machine is None:
            return sealed
        return bound.seal(work.machine, sealed, vouching.info(job, work.guest, work.node), secrets.token_bytes)

    def policy(self) -> SignedPolicy | None:
        """Return the newest policy of the fleet's operator that was seen."""
        row = self._store.get(policies.TABLE, policies.ROW)
        return codec.decode(row, SignedPolicy) if row is not None else None

    def asked(self) -> Policy:
        """Return what that policy asks of machines; the default where none was seen. Raises ConfigError."""
        signed = self.policy()
        return policies.told(codec.decode(signed.data, PolicyOrder) if signed is not None else None)

    def challenge(self, requirement: Requirement) -> Challenge | None:
        """Return what a job with this requirement asks every machine: nothing, where no demand rests on hardware."""
        if not any(demand.level is Level.HARDWARE for demand in requirement.demands):
            return None
        policy = self.asked()
        return Challenge(nonce=secrets.token_bytes(32), pcrs=policy.asked, bank=policy.bank)

    def vouched(self) -> dict[NodeId, Row]:
        """Return what is kept of machines that proved something to us."""
        return {NodeId(key): codec.decode(value, Row) for key, value in self._store.scan(vouching.TABLE)}

    def granted(self, job: JobId) -> list[Granted]:
        """Return what is kept of the guests that were given the job's keys, in the order they were."""
        return sorted(
            (codec.decode(row, Granted) for _, row in self._store.scan(GRANTED, job)), key=lambda kept: kept.at
        )

    def credentials(self, member: NodeId) -> list[Credential]:
        """Return the credentials that a node showed in receipts when its guests were given keys, each once."""
        kept: list[Granted] = [
            codec.decode(row, Granted) for _, row in self._store.scan(GRANTED) if bytes(member) in row
        ]
        receipts: list[Receipt] = [codec.decode(one.receipt, Receipt) for one in kept]
        found = (one.credential for one in receipts if one.node_id == member and one.credential is not None)
        return list(dict.fromkeys(found))

    def removals(self) -> SignedRemovals | None:
        """Return the newest list of removals that was seen."""
        row = self._store.get(removals.TABLE, removals.ROW)
        return codec.decode(row, SignedRemovals) if row is not None else None

    def forget_inputs(self, job: JobId) -> None:
        """Drop sealed inputs that are not needed any more."""
        self._store.commit([DropPrefix(INPUTS, job)])
