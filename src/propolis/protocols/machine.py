"""The contract all machines and parties share, and the few events and actions that drivers understand.

A machine is pure: `handle(event, now)` returns actions, `deadline()` says when it next wants `TimePassed`, `check()`
asserts its invariants. Time and chance are handed in. The async driver (runtime/driver.py) and the simulator's kernel
run the same objects and neither the machines nor the parties can tell which.

Rules: events are in the past tense, actions in the imperative. A machine never raises because of a peer; it raises
ProtocolMisuse for our own mistakes. Every table a peer can grow has a bound. Work that is asked for bears a ticket; its
answer comes back as `WorkDone` or `WorkFailed` with that ticket.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from propolis.messages.envelope import Message, Packet, Segment
from propolis.ports.store import Write
from propolis.terms.contact import Contact
from propolis.terms.identity import NodeId
from propolis.terms.time import Instant


class Event(msgspec.Struct, frozen=True):
    """Something that happened."""


class Action(msgspec.Struct, frozen=True):
    """Something the driver shall do."""


class TimePassed(Event, frozen=True):
    """The deadline is due."""


class ChannelOpened(Event, frozen=True):
    """A channel with `peer` stands; `ours` = we dialled it. `observed` = the address the peer is seen at."""

    peer: NodeId
    ours: bool
    observed: str = ""


class ChannelClosed(Event, frozen=True):
    """The channel with `peer` is over. Says nothing about whether the peer lives. `reason`: why no talk is possible, if so."""

    peer: NodeId
    reason: str = ""


class DialFailed(Event, frozen=True):
    """A dial did not succeed."""

    peer: NodeId
    reason: str


class PacketArrived(Event, frozen=True):
    """A decoded packet of `peer`, its key proven by the channel."""

    peer: NodeId
    packet: Packet


class WorkDone(Event, frozen=True):
    """The answer to a work action."""

    ticket: int
    result: Any = None


class WorkFailed(Event, frozen=True):
    """A work action failed; `code` is one of terms/errors."""

    ticket: int
    code: str
    reason: str = ""


class Dial(Action, frozen=True):
    """Open a channel; answered by ChannelOpened or DialFailed."""

    contact: Contact


class HangUp(Action, frozen=True):
    """Close the channel with `peer` after what was sent is written."""

    peer: NodeId


class FromStore(msgspec.Struct, frozen=True):
    """A body segment that the driver reads from the store when it writes the packet, so that memory holds no queue."""

    table: str
    key: bytes
    size: int


BodyPart = Segment | FromStore


def filled(packet: Packet, parts: Sequence["BodyPart"], read: Callable[[str, bytes], bytes | None]) -> Packet:
    """Return the packet with its body. A stored part that is gone (or of another size) travels as an empty one, a hole.

    A part may go between the step that queued it and the write, or before it is sent again: a result its owner took, an
    input nobody needs any more. Nothing sealed is ever empty, so receivers know a hole; and the link's order goes on.
    """
    body: list[Segment] = []
    for part in parts:
        if isinstance(part, FromStore):
            value = read(part.table, part.key)
            body.append(value if value is not None and len(value) == part.size else b"")
        else:
            body.append(part)
    sizes = tuple(map(len, body))
    envelope = packet.envelope
    if sizes != envelope.sizes:
        envelope = msgspec.structs.replace(envelope, sizes=sizes)
    return Packet(envelope, tuple(body))


class Transmit(Action, frozen=True):
    """Hand a packet to the carrier. `small` = as a datagram where there is one; it may get lost either way."""

    peer: NodeId
    packet: Packet
    parts: tuple[BodyPart, ...] = ()
    small: bool = False


class Persist(Action, frozen=True):
    """Commit these writes before any Transmit of the same or a later step leaves (journal: write, then send)."""

    writes: tuple[Write, ...]


class Tell(Action, frozen=True):
    """Tell the world outside the party (a client, a face) something; never crosses the wire."""

    note: Any


class Work(Action, frozen=True):
    """Base of actions that ask for work; the answer bears the same ticket."""

    ticket: int


class Mail(msgspec.Struct, frozen=True):
    """A message for a peer, before the link numbers and packs it."""

    peer: NodeId
    message: Message
    parts: tuple[BodyPart, ...] = ()


class Machine(Protocol):
    """What a driver runs."""

    def handle(self, event: Event, now: Instant) -> Sequence[Action]:
        """Take one event; return what to do."""
        ...

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted, or None."""
        ...

    def check(self) -> None:
        """Assert every invariant; for tests and the simulator."""
        ...
