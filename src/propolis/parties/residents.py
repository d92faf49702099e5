"""The residents of a party: machines of several families side by side, each led to what is its own, none knowing the others.

A resident says which messages it hears and which outside events it takes. Changes of sessions and the passing of time go to all.
What one concludes for the others it announces. Tickets are a resident's own count: on the way out each gets the party's number.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

import msgspec

from propolis.protocols.link.office import Office
from propolis.protocols.machine import Action, Event, Mail, TimePassed, Work, WorkDone, WorkFailed
from propolis.protocols.session import Announce, Change, Hears, Said, Takes
from propolis.terms.errors import ProtocolMisuse
from propolis.terms.time import Instant, earliest

Output = Action | Mail
T = TypeVar("T", bound=type)


class Resident(Protocol):
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


class Residents:
    """The machines of one party."""

    def __init__(self, *residents: Resident) -> None:
        """Raises ProtocolMisuse when two residents claim one message or event."""
        self._residents = residents
        self._hears = _claims(residents, [resident.hears for resident in residents])
        self._takes = _claims(residents, [resident.takes for resident in residents])
        self._asked: dict[int, tuple[Resident, int]] = {}  # ticket of the party -> who asked, under which of its own
        self._last_ticket = 0

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Lead an event to its residents. What nobody hears of a peer is dropped; what nobody takes of us is ProtocolMisuse."""
        match event:
            case Said(message=message):
                resident = self._hears.get(type(message))
                return self._from(resident, event, now) if resident is not None else []
            case WorkDone(ticket=ticket) | WorkFailed(ticket=ticket):
                return self._answered(ticket, event, now)
            case TimePassed() | Change():
                return [output for resident in self._residents for output in self._from(resident, event, now)]
        resident = self._takes.get(type(event))
        if resident is None:
            raise ProtocolMisuse(f"no resident takes {type(event).__name__}")
        return self._from(resident, event, now)

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return earliest(*(resident.deadline() for resident in self._residents))

    def check(self) -> None:
        """Assert the invariants of every resident."""
        for resident in self._residents:
            resident.check()

    def _answered(self, ticket: int, event: WorkDone | WorkFailed, now: Instant) -> list[Output]:
        resident, own = self._asked.pop(ticket, (None, 0))
        if resident is None:
            return []
        return self._from(resident, msgspec.structs.replace(event, ticket=own), now)

    def _from(self, resident: Resident, event: Event, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for output in resident.handle(event, now):
            if isinstance(output, Announce):
                outputs += self.handle(output.change, now)
            else:
                outputs.append(self._numbered(resident, output) if isinstance(output, Work) else output)
        return outputs

    def _numbered(self, resident: Resident, work: Work) -> Work:
        self._last_ticket += 1
        self._asked[self._last_ticket] = (resident, work.ticket)
        return msgspec.structs.replace(work, ticket=self._last_ticket)


def posted(office: Office, outputs: Sequence[Output], now: Instant) -> list[Action]:
    """Hand mails to the office; return the actions, what is written before the packets that follow from it."""
    actions: list[Action] = [output for output in outputs if isinstance(output, Action)]
    mails = [output for output in outputs if isinstance(output, Mail)]
    return actions + office.post(mails, now) if mails else actions


def _claims(residents: Sequence[Resident], kinds: Sequence[tuple[T, ...]]) -> dict[T, Resident]:
    claims: dict[T, Resident] = {}
    for resident, claimed in zip(residents, kinds, strict=True):
        for kind in claimed:
            if kind in claims:
                raise ProtocolMisuse(f"two residents claim {kind.__name__}")
            claims[kind] = resident
    return claims
