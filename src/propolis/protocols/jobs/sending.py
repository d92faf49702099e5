"""One job of an owner's: inputs on the way or stored, results that are here, and what is asked of its keys."""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from propolis.messages.envelope import Segment
from propolis.messages.jobs import TaskResult
from propolis.protocols.jobs.bits import Bits
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import Granted, JobSpec, Receipt

UPLOAD_BYTES = 8 * 1024 * 1024
BATCH_BYTES = 4 * 1024 * 1024
BATCH_TASKS = 512


class Sealing(msgspec.Struct, frozen=True):
    """A key is being sealed to a guest; what is kept of it then, and under which of the operator's policies it was released."""

    job: JobId
    guest: GuestId
    granted: Granted
    policy: int


class Opening(msgspec.Struct, frozen=True):
    """Results are being opened."""

    job: JobId
    items: tuple[TaskResult, ...]
    sealed: tuple[Segment, ...]


class Sending:
    """A submitted job as its owner sees it."""

    def __init__(self, spec: JobSpec, sizes: list[int], finished: Bits, granted: Iterable[Receipt]) -> None:
        self.spec = spec
        self.sizes = sizes
        self.finished = finished  # results safe in our store
        self.stored: Bits | None = None  # inputs safe with the orchestrator; None = it has not answered yet
        self.opening: set[int] = set()
        self.ended = False
        # guests that hold a key; an id names one guest for ever
        self.granted: dict[GuestId, Receipt] = {receipt.guest_id: receipt for receipt in granted}
        self.machines = Counter(receipt.node_id for receipt in self.granted.values())  # keys that went to each
        self._flying: dict[int, int] = {}  # index -> bytes sent and not yet stored
        self._cursor = 0

    def give(self, receipt: Receipt) -> None:
        """A key goes to this guest; to one that has it, again."""
        if receipt.guest_id not in self.granted:
            self.granted[receipt.guest_id] = receipt
            self.machines[receipt.node_id] += 1

    def keys_of(self, node: NodeId) -> int:
        """Return how many guests of a machine were given keys."""
        return self.machines[node]

    def begin(self) -> None:
        """A fresh session: the orchestrator says again what it has."""
        self.stored, self._cursor = None, 0
        self._flying.clear()

    def batches(self) -> Iterator[list[int]]:
        """Yield the indices to send now, so that a window of bytes is on the way."""
        while self.stored is not None and self._cursor < self.spec.tasks and sum(self._flying.values()) < UPLOAD_BYTES:
            batch = self._batch(self.stored)
            if batch:
                self._flying.update((index, self.sizes[index]) for index in batch)
                yield batch

    def _batch(self, stored: Bits) -> list[int]:
        batch: list[int] = []
        size = 0
        while self._cursor < self.spec.tasks and len(batch) < BATCH_TASKS and size < BATCH_BYTES:
            index = self._cursor
            self._cursor += 1
            if index not in stored and index not in self.finished:
                batch.append(index)
                size += self.sizes[index]
        return batch

    def keep(self, indices: Iterable[int]) -> None:
        """These inputs are stored; what was never sent is nobody's to say."""
        for index in indices:
            if self.stored is not None and self._flying.pop(index, None) is not None:
                self.stored.add(index)

    def check(self) -> None:
        """Assert the invariants."""
        assert not any(index in self.finished for index in self.opening)
        assert sum(self._flying.values()) <= UPLOAD_BYTES + BATCH_BYTES + max(self.sizes, default=0)
