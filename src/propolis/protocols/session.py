"""What every party tells the machines that live in it of sessions: who is in, who said what, who fell silent or is gone.

These events belong to no family, so that machines of several families can live in one party (parties/ routes them).
"""

from propolis.messages.envelope import Message, Segment
from propolis.protocols.machine import Action, BodyPart, Event
from propolis.terms.capability import CapabilityReport
from propolis.terms.identity import NodeId


class Said(Event, frozen=True):
    """A member's message, once and in order."""

    peer: NodeId
    message: Message
    body: tuple[Segment, ...] = ()


# -- at the orchestrator


class NodeEntered(Event, frozen=True):
    """A node is in (again): whatever it ran before is forgotten until it says Resume."""

    node: NodeId
    report: CapabilityReport
    addresses: tuple[str, ...] = ()


class NodeSuspected(Event, frozen=True):
    """A node is silent: give it nothing new."""

    node: NodeId


class NodeRecovered(Event, frozen=True):
    """A suspected node was heard again, in the same session."""

    node: NodeId


class NodeLost(Event, frozen=True):
    """A node is gone, with its guests."""

    node: NodeId


class OwnerEntered(Event, frozen=True):
    """An owner's client is connected."""

    owner: NodeId


class OwnerLost(Event, frozen=True):
    """An owner's client is gone; its jobs go on as far as they can without it."""

    owner: NodeId


class DiskFilled(Event, frozen=True):
    """`full` = the journal has no room: take no new work until it has."""

    full: bool


# -- at a member


class Connected(Event, frozen=True):
    """We are inside the fleet, with a fresh session."""


class Disconnected(Event, frozen=True):
    """The session with the orchestrator is over; `unsent` = messages it never took."""

    unsent: tuple[tuple[Message, tuple[BodyPart, ...]], ...] = ()


class EndSession(Action, frozen=True):
    """Asked of the party: what `peer` says in this session is not listened to any more. A fresh one may follow."""

    peer: NodeId
    reason: str
