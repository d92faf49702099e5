"""Fetching one blob from several holders: four requests in flight each, wrong bytes drop a holder for good, kept chunks stay.

docs/specs/blob.md. Pure: the runtime asks, verifies nothing itself, and feeds answers back; this machine verifies.
"""

from collections import deque
from collections.abc import Iterable

from propolis.messages.blobs import Manifest, chunk_name, manifest_for
from propolis.protocols.machine import Action, Event
from propolis.terms.errors import MalformedMessage
from propolis.terms.identity import NodeId
from propolis.terms.job import BlobRef
from propolis.terms.time import Instant

IN_FLIGHT = 4
CHUNK_SECONDS = 2.0


class HolderFound(Event, frozen=True):
    """A holder can be asked."""

    holder: NodeId


class HolderLost(Event, frozen=True):
    """A holder cannot be asked any more."""

    holder: NodeId


class ManifestArrived(Event, frozen=True):
    """A holder's manifest; None = it has none."""

    holder: NodeId
    data: bytes | None


class ChunkArrived(Event, frozen=True):
    """A holder's chunk; None = it has none."""

    holder: NodeId
    number: int
    data: bytes | None


class AskManifest(Action, frozen=True):
    """Ask a holder for the manifest."""

    holder: NodeId


class AskChunk(Action, frozen=True):
    """Ask a holder for a chunk."""

    holder: NodeId
    number: int


class KeepManifest(Action, frozen=True):
    """Keep the verified manifest."""

    data: bytes


class KeepChunk(Action, frozen=True):
    """Keep a verified chunk."""

    number: int
    data: bytes


class Finished(Action, frozen=True):
    """The blob is whole."""


class Failed(Action, frozen=True):
    """No holder is left; what was kept stays for the next try."""

    reason: str


class BlobFetch:
    """One fetch from `holders`. `kept` = chunks already here, `manifest` = its bytes if already here."""

    def __init__(self, ref: BlobRef, manifest: bytes | None, kept: set[int], holders: Iterable[NodeId]) -> None:
        self._ref = ref
        self._hoped = set(holders)  # neither found nor lost yet
        self._manifest: Manifest | None = manifest_for(ref, manifest) if manifest is not None else None
        self._kept = set(kept)
        self._holders: dict[NodeId, dict[int, Instant]] = {}  # holder -> chunks in flight and when they are overdue
        self._dropped: dict[NodeId, str] = {}
        self._missing: deque[int] = deque()
        self._over = False
        if self._manifest is not None:
            self._missing.extend(n for n in range(len(self._manifest.chunks)) if n not in self._kept)

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take one event."""
        if self._over:
            return []
        actions: list[Action] = []
        if isinstance(event, HolderFound | HolderLost):
            self._hoped.discard(event.holder)
        match event:
            case HolderFound(holder=holder) if holder not in self._dropped:
                self._holders.setdefault(holder, {})
                if self._manifest is None:
                    actions.append(AskManifest(holder))
            case HolderLost(holder=holder):
                self._drop(holder, "lost")
            case ManifestArrived(holder=holder, data=data) if holder in self._holders:
                actions += self._take_manifest(holder, data)
            case ChunkArrived(holder=holder, number=number, data=data) if holder in self._holders:
                actions += self._take_chunk(holder, number, data)
            case _:
                self._overdue(now)
        return actions + self._next(now)

    def deadline(self) -> Instant | None:
        """Return when the next chunk is overdue."""
        return min((due for flight in self._holders.values() for due in flight.values()), default=None)

    def check(self) -> None:
        """Assert the invariants."""
        assert all(len(flight) <= IN_FLIGHT for flight in self._holders.values())
        assert not set(self._holders) & set(self._dropped)
        assert not set(self._missing) & self._kept

    def _take_manifest(self, holder: NodeId, data: bytes | None) -> list[Action]:
        if self._manifest is not None:
            return []
        if data is None:
            self._drop(holder, "has no such blob")
            return []
        try:
            self._manifest = manifest_for(self._ref, data)
        except MalformedMessage as error:
            self._drop(holder, str(error))
            return []
        self._missing.extend(n for n in range(len(self._manifest.chunks)) if n not in self._kept)
        return [KeepManifest(data)]

    def _take_chunk(self, holder: NodeId, number: int, data: bytes | None) -> list[Action]:
        if self._manifest is None or self._holders[holder].pop(number, None) is None:
            return []
        if data is None or chunk_name(data) != self._manifest.chunks[number]:
            self._again(number)
            self._drop(holder, "sent wrong bytes" if data is not None else "lacks a chunk")
            return []
        if number in self._kept:
            return []
        self._kept.add(number)
        return [KeepChunk(number, data)]

    def _overdue(self, now: Instant) -> None:
        for flight in self._holders.values():
            for number in [number for number, due in flight.items() if due <= now]:
                del flight[number]
                self._again(number)

    def _again(self, number: int) -> None:
        if number not in self._kept and number not in self._missing:
            self._missing.append(number)

    def _drop(self, holder: NodeId, reason: str) -> None:
        for number in self._holders.pop(holder, {}):
            self._again(number)
        self._dropped[holder] = reason

    def _next(self, now: Instant) -> list[Action]:
        if self._manifest is not None and len(self._kept) == len(self._manifest.chunks):
            self._over = True
            return [Finished()]
        if not self._holders:
            if self._hoped:
                return []
            self._over = True
            reasons = ", ".join(sorted(set(self._dropped.values())))
            return [Failed(f"no holder is left: {reasons}")]
        actions: list[Action] = []
        progress = self._manifest is not None
        while progress and self._missing:
            progress = False
            for holder, flight in self._holders.items():
                if self._missing and len(flight) < IN_FLIGHT:
                    number = self._missing.popleft()
                    if number in self._kept:
                        continue
                    flight[number] = Instant(now + CHUNK_SECONDS)
                    actions.append(AskChunk(holder, number))
                    progress = True
        return actions
