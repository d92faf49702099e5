"""What every party tells the machines that live in it of sessions: who is in, who said what, who fell silent or is gone.

These events belong to no family, so that machines of several families can live in one party (parties/ routes them).
"""

from propolis.decisions.appraisal.policy import Rules
from propolis.messages.envelope import Message, Segment
from propolis.protocols.machine import Action, BodyPart, Event
from propolis.terms.capability import CapabilityReport
from propolis.terms.credential import Credential
from propolis.terms.evidence import Proven
from propolis.terms.identity import NodeId

Hears = tuple[type[Message], ...]
"""The messages a machine listens to; in one party no two machines hear the same."""

Takes = tuple[type[Event], ...]
"""The events from outside (a client, an executor) that are a machine's, beyond changes, time and answers to its work."""


class Change(Event, frozen=True):
    """Something about who is in, or how the party stands: every machine in it is told."""


class Said(Event, frozen=True):
    """A member's message, once and in order."""

    peer: NodeId
    message: Message
    body: tuple[Segment, ...] = ()


# -- at the orchestrator


class NodeEntered(Change, frozen=True):
    """A node is in (again): whatever it ran before is forgotten until it says Resume."""

    node: NodeId
    report: CapabilityReport
    addresses: tuple[str, ...] = ()
    credential: Credential | None = None


class NodeSuspected(Change, frozen=True):
    """A node is silent: give it nothing new."""

    node: NodeId


class NodeRecovered(Change, frozen=True):
    """A suspected node was heard again, in the same session."""

    node: NodeId


class NodeLost(Change, frozen=True):
    """A node is gone, with its guests."""

    node: NodeId


class MemberRemoved(Change, frozen=True):
    """The operator removed a node or an owner: nothing of it goes on."""

    member: NodeId


class NodeProven(Change, frozen=True):
    """What is proven of a node from now on; nothing, with the reason, when it is not or not any more.

    `ek`: the Name of its endorsement key, as far as it was shown to hold it.
    """

    node: NodeId
    proven: Proven
    reason: str = ""
    ek: bytes = b""


class OwnerEntered(Change, frozen=True):
    """An owner's client is connected."""

    owner: NodeId


class OwnerLost(Change, frozen=True):
    """An owner's client is gone; its jobs go on as far as they can without it."""

    owner: NodeId


class DiskFilled(Change, frozen=True):
    """`full` = the journal has no room: take no new work until it has.

    `spilled` = a write failed already: nothing that would take room is written, results that come run again later.
    """

    full: bool
    spilled: bool = False


class PolicyChanged(Change, frozen=True):
    """The operator's policy of appraisal is another one: whatever was concluded by the old one is over."""

    rules: Rules


# -- at a member


class ProvenHere(Change, frozen=True):
    """At a node: what its fleet concludes of it."""

    proven: Proven


class Connected(Change, frozen=True):
    """We are inside the fleet, with a fresh session."""


class Disconnected(Change, frozen=True):
    """The session with the orchestrator is over; `unsent` = messages it never took."""

    unsent: tuple[tuple[Message, tuple[BodyPart, ...]], ...] = ()


class Announce(Action, frozen=True):
    """Asked of the party: tell all its machines of this change; one machine has concluded what others act on."""

    change: Change


class EndSession(Action, frozen=True):
    """Asked of the party: what `peer` says in this session is not listened to any more. A fresh one may follow."""

    peer: NodeId
    reason: str
