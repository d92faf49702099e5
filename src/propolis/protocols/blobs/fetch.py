"""Fetching one blob from several holders: four requests in flight each, wrong bytes drop a holder for good, kept chunks stay.

docs/specs/blob.md. Pure: the runtime asks and feeds answers back; this machine verifies. A chunk that is late is asked of
another holder too, and taken from whoever brings it first: a slow line makes progress, a mute one delays nothing others hold.
"""

from collections import deque
from collections.abc import Iterable

from propolis.messages.blobs import Manifest, chunk_name, manifest_for
from propolis.protocols.machine import Action, Event
from propolis.terms.errors import MalformedMessage
from propolis.terms.identity import NodeId
from propolis.terms.job import BlobRef
from propolis.terms.time import NEVER, Instant

IN_FLIGHT = 4
CHUNK_SECONDS = 2.0  # after which another holder is asked as well
STALL_SECONDS = 30.0  # in which a holder has to bring something it was asked for: 35 kB/s


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


class _Holder:
    """What one holder was asked for."""

    def __init__(self, now: Instant) -> None:
        self.flight: dict[int, Instant] = {}  # chunk -> when it is late; NEVER = it is, and others may be asked
        self.owes_manifest = False
        self.heard = now  # when it last brought something, or was first asked after owing nothing

    def ask(self, number: int, now: Instant) -> None:
        if not self.flight and not self.owes_manifest:
            self.heard = now
        self.flight[number] = Instant(now + CHUNK_SECONDS)

    @property
    def stalls(self) -> Instant:
        return Instant(self.heard + STALL_SECONDS) if self.flight or self.owes_manifest else NEVER


class BlobFetch:
    """One fetch from `holders`. `kept` = chunks already here, `manifest` = its bytes if already here."""

    def __init__(self, ref: BlobRef, manifest: bytes | None, kept: set[int], holders: Iterable[NodeId]) -> None:
        self._ref = ref
        self._hoped = set(holders)  # neither found nor lost yet
        self._manifest: Manifest | None = manifest_for(ref, manifest) if manifest is not None else None
        self._kept = set(kept)
        self._holders: dict[NodeId, _Holder] = {}
        self._dropped: dict[NodeId, str] = {}
        self._missing: deque[int] = deque()  # nobody is asked for them, or who is, is late
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
                found = self._holders.setdefault(holder, _Holder(now))
                if self._manifest is None:
                    found.owes_manifest = True
                    actions.append(AskManifest(holder))
            case HolderLost(holder=holder):
                self._drop(holder, "lost")
            case ManifestArrived(holder=holder, data=data) if holder in self._holders:
                actions += self._take_manifest(holder, data, now)
            case ChunkArrived(holder=holder, number=number, data=data) if holder in self._holders:
                actions += self._take_chunk(holder, number, data, now)
            case _:
                pass
        self._late(now)
        return actions + self._next(now)

    def deadline(self) -> Instant | None:
        """Return when the next chunk is late or the next holder has stalled."""
        if self._over:
            return None
        due = [at for holder in self._holders.values() for at in (holder.stalls, *holder.flight.values()) if at < NEVER]
        return min(due, default=None)

    def check(self) -> None:
        """Assert the invariants."""
        assert all(len(holder.flight) <= IN_FLIGHT for holder in self._holders.values())
        assert not set(self._holders) & set(self._dropped)
        assert not set(self._missing) & self._kept
        assert len(set(self._missing)) == len(self._missing)
        if self._manifest is not None and not self._over:
            asked = {number for holder in self._holders.values() for number in holder.flight}
            assert self._kept | asked | set(self._missing) >= set(range(len(self._manifest.chunks))), (
                "no chunk is forgotten"
            )

    def _take_manifest(self, holder: NodeId, data: bytes | None, now: Instant) -> list[Action]:
        self._holders[holder].owes_manifest = False
        self._holders[holder].heard = now
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

    def _take_chunk(self, holder: NodeId, number: int, data: bytes | None, now: Instant) -> list[Action]:
        from_whom = self._holders[holder]
        if self._manifest is None or from_whom.flight.pop(number, None) is None:
            return []  # nobody asked it for that
        from_whom.heard = now
        if number in self._kept:
            return []
        if data is None or chunk_name(data) != self._manifest.chunks[number]:
            self._again(number)
            self._drop(holder, "sent wrong bytes" if data is not None else "lacks a chunk")
            return []
        self._kept.add(number)
        if number in self._missing:
            self._missing.remove(number)
        return [KeepChunk(number, data)]

    def _late(self, now: Instant) -> None:
        for name, holder in list(self._holders.items()):
            if holder.stalls <= now:
                self._drop(name, f"brought nothing in {STALL_SECONDS:g} s")
                continue
            for number in [number for number, due in holder.flight.items() if due <= now]:
                holder.flight[number] = NEVER
                self._again(number)

    def _again(self, number: int) -> None:
        if number not in self._kept and number not in self._missing:
            self._missing.append(number)

    def _drop(self, name: NodeId, reason: str) -> None:
        holder = self._holders.pop(name, None)
        for number in holder.flight if holder is not None else ():
            self._again(number)
        self._dropped[name] = reason

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
        return self._ask(now) if self._manifest is not None else []

    def _ask(self, now: Instant) -> list[Action]:
        """Deal out what is missing, one chunk to each holder in turn; never twice the same to one that still owes it."""
        actions: list[Action] = []
        progress = True
        while progress and self._missing:
            progress = False
            for name, holder in self._holders.items():
                number = next((n for n in self._missing if n not in holder.flight), None)
                if number is None or len(holder.flight) >= IN_FLIGHT:
                    continue
                self._missing.remove(number)
                holder.ask(number, now)
                actions.append(AskChunk(name, number))
                progress = True
        return actions
