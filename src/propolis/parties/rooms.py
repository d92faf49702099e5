"""The rooms of a party: machines of several families side by side, each led to what is its own, none knowing the others.

A room says which messages it hears and which outside events it takes. Changes of sessions and the passing of time go to all.
Tickets are a room's own count: on the way out each gets a number of the party's, and its answer finds the room that asked.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

import msgspec

from propolis.protocols.link.office import Office
from propolis.protocols.machine import Action, Event, Mail, TimePassed, Work, WorkDone, WorkFailed
from propolis.protocols.session import Change, Hears, Said, Takes
from propolis.terms.errors import ProtocolMisuse
from propolis.terms.time import Instant, earliest

Output = Action | Mail
T = TypeVar("T", bound=type)


class Room(Protocol):
    """A machine that lives inside the sessions of a party, such as Worker, Submitter or Dispatcher."""

    hears: ClassVar[Hears]
    takes: ClassVar[Takes]

    def handle(self, event: Event, now: Instant) -> Sequence[Output]:
        """Take one event."""
        ...

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        ...

    def check(self) -> None:
        """Assert the invariants."""
        ...


class Rooms:
    """The machines of one party."""

    def __init__(self, *rooms: Room) -> None:
        """Raises ProtocolMisuse when two rooms claim one message or event."""
        self._rooms = rooms
        self._hears = _claims(rooms, [room.hears for room in rooms])
        self._takes = _claims(rooms, [room.takes for room in rooms])
        self._asked: dict[int, tuple[Room, int]] = {}  # ticket of the party -> who asked, under which of its own
        self._last_ticket = 0

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Lead an event to its rooms. What nobody hears of a peer is dropped; what nobody takes of us is ProtocolMisuse."""
        match event:
            case Said(message=message):
                room = self._hears.get(type(message))
                return self._from(room, event, now) if room is not None else []
            case WorkDone(ticket=ticket) | WorkFailed(ticket=ticket):
                return self._answered(ticket, event, now)
            case TimePassed() | Change():
                return [output for room in self._rooms for output in self._from(room, event, now)]
        room = self._takes.get(type(event))
        if room is None:
            raise ProtocolMisuse(f"no room takes {type(event).__name__}")
        return self._from(room, event, now)

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return earliest(*(room.deadline() for room in self._rooms))

    def check(self) -> None:
        """Assert the invariants of every room."""
        for room in self._rooms:
            room.check()

    def _answered(self, ticket: int, event: WorkDone | WorkFailed, now: Instant) -> list[Output]:
        room, own = self._asked.pop(ticket, (None, 0))
        if room is None:
            return []
        return self._from(room, msgspec.structs.replace(event, ticket=own), now)

    def _from(self, room: Room, event: Event, now: Instant) -> list[Output]:
        return [self._numbered(room, o) if isinstance(o, Work) else o for o in room.handle(event, now)]

    def _numbered(self, room: Room, work: Work) -> Work:
        self._last_ticket += 1
        self._asked[self._last_ticket] = (room, work.ticket)
        return msgspec.structs.replace(work, ticket=self._last_ticket)


def posted(office: Office, outputs: Sequence[Output], now: Instant) -> list[Action]:
    """Hand mails to the office; return the actions, what is written before the packets that follow from it."""
    actions: list[Action] = [output for output in outputs if isinstance(output, Action)]
    mails = [output for output in outputs if isinstance(output, Mail)]
    return actions + office.post(mails, now) if mails else actions


def _claims(rooms: Sequence[Room], kinds: Sequence[tuple[T, ...]]) -> dict[T, Room]:
    claims: dict[T, Room] = {}
    for room, claimed in zip(rooms, kinds, strict=True):
        for kind in claimed:
            if kind in claims:
                raise ProtocolMisuse(f"two rooms claim {kind.__name__}")
            claims[kind] = room
    return claims
