"""All links of one party: routes packets, mails and time, and says in plain notices what became of each peer.

A party sees only: Opened (a fresh session: resynchronise), Heard (a message, once, in order), Suspected, Recovered (from
suspicion, in the same session) and Lost (the session is over; what it never took comes back). Bounded: at most `max_peers` links.
"""

import heapq
from collections.abc import Iterable, Sequence

import msgspec

from propolis.messages.envelope import MAX_BODY, Message, Segment
from propolis.ports.entropy import Entropy
from propolis.protocols.link.link import Accepted, Link, Unsent
from propolis.protocols.link.terms import LinkConfig, Standing
from propolis.protocols.machine import (
    Action,
    ChannelClosed,
    ChannelOpened,
    Event,
    HangUp,
    Mail,
    PacketArrived,
    TimePassed,
)
from propolis.terms.identity import NodeId
from propolis.terms.time import NEVER, Instant


class Notice(msgspec.Struct, frozen=True):
    """What became of a peer."""

    peer: NodeId


class Opened(Notice, frozen=True):
    """A fresh session: neither side remembers anything of an earlier one."""


class Heard(Notice, frozen=True):
    """A message of the open session."""

    message: Message
    body: tuple[Segment, ...]


class Suspected(Notice, frozen=True):
    """Silent for the suspicion time; prefer others, give up nothing yet."""


class Recovered(Notice, frozen=True):
    """Heard again after a suspicion; nothing of the session was lost."""


class Lost(Notice, frozen=True):
    """The session is over: the peer is dead or a new incarnation. `unsent` was never taken."""

    unsent: tuple[Unsent, ...]


Step = tuple[list[Action], list[Notice]]


class Office:
    """The links of one party."""

    def __init__(
        self, entropy: Entropy, config: LinkConfig | None = None, max_peers: int = 100_000, *, trusting: bool = True
    ) -> None:
        """`trusting`: every peer is listened to; otherwise a session's first words alone, until `admit` (rule 9)."""
        self._trusting = trusting
        self._entropy = entropy
        self._config = config or LinkConfig()
        self._max_peers = max_peers
        self._links: dict[NodeId, Link] = {}
        self._wakes: list[tuple[Instant, NodeId]] = []
        self._armed: dict[NodeId, Instant] = {}

    def _epoch(self) -> int:
        return int.from_bytes(self._entropy.draw(6), "big") + 1

    def is_open(self, peer: NodeId) -> bool:
        """Return whether a session with `peer` is open."""
        link = self._links.get(peer)
        return link is not None and link.mutual

    def is_suspect(self, peer: NodeId) -> bool:
        """Return whether the peer has been silent for the suspicion time."""
        link = self._links.get(peer)
        return link is not None and link.suspected

    def knows(self, peer: NodeId) -> bool:
        """Return whether there is a link to the peer at all, its session open or not."""
        return peer in self._links

    def trusts(self, peer: NodeId) -> bool:
        """Return whether the peer was let in, in this session."""
        link = self._links.get(peer)
        return link is not None and link.trusted

    def body_limit(self, peer: NodeId) -> int:
        """Return how large a body of the peer's is listened to."""
        return MAX_BODY if self.trusts(peer) else self._config.stranger_bytes

    def admit(self, peer: NodeId) -> None:
        """Listen to the peer for as long as this session lasts."""
        link = self._links.get(peer)
        if link is not None:
            link.trusted = True

    def waiting(self, peer: NodeId, kinds: tuple[type[msgspec.Struct], ...]) -> int:
        """Return how many messages of these kinds the peer has not acknowledged."""
        link = self._links.get(peer)
        return link.waiting(kinds) if link is not None else 0

    def handle(self, event: Event, now: Instant) -> Step:
        """Take a carrier event or TimePassed."""
        match event:
            case ChannelOpened(peer=peer):
                return self._opened(peer, now)
            case ChannelClosed(peer=peer):
                return self._closed(peer)
            case PacketArrived():
                return self._arrived(event, now)
            case TimePassed():
                return self._tick(now)
            case _:
                return [], []

    def post(self, mails: Iterable[Mail], now: Instant) -> list[Action]:
        """Queue mails and flush the links they belong to; mail for a peer without an open session is dropped.

        Dropping is right: a fresh session begins with Opened, and the caller resynchronises there.
        """
        touched: dict[NodeId, Link] = {}
        for mail in mails:
            link = self._links.get(mail.peer)
            if link is not None and link.mutual:
                link.send(mail.message, mail.parts)
                touched[mail.peer] = link
        actions: list[Action] = []
        for link in touched.values():
            actions += link.flush(now)
            self._arm(link)
        return actions

    def forget(self, peer: NodeId) -> list[Action]:
        """Drop a peer: no link, no channel."""
        self._links.pop(peer, None)
        self._armed.pop(peer, None)
        return [HangUp(peer)]

    def deadline(self) -> Instant | None:
        """Return the earliest wake of any link."""
        while self._wakes and self._armed.get(self._wakes[0][1]) != self._wakes[0][0]:
            heapq.heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._links) <= self._max_peers
        assert set(self._armed) <= set(self._links)
        for peer, link in self._links.items():
            assert link.peer == peer
            link.check()
            due = link.deadline()
            assert due == NEVER or self._armed.get(peer, NEVER) <= due, "a link would sleep through its deadline"

    # -- inside

    def _opened(self, peer: NodeId, now: Instant) -> Step:
        link = self._links.get(peer)
        if link is None:
            if len(self._links) >= self._max_peers:
                return [HangUp(peer)], []
            link = self._links[peer] = Link(peer, self._epoch(), now, self._config, trusting=self._trusting)
        actions: list[Action] = list(link.attach(now))
        self._arm(link)
        return actions, []

    def _closed(self, peer: NodeId) -> Step:
        link = self._links.get(peer)
        if link is None:
            return [], []
        link.detach()
        if link.mutual and link.trusted:
            self._arm(link)
            return [], []
        del self._links[peer]  # a stranger's session goes with its channel
        self._armed.pop(peer, None)
        return [], [Lost(peer, ())] if link.mutual else []

    def _arrived(self, event: PacketArrived, now: Instant) -> Step:
        link = self._links.get(event.peer)
        if link is None:
            return [], []
        was_open, was_suspected = link.mutual, link.suspected
        change: Accepted = link.accept(event.packet, now)
        notices: list[Notice] = []
        if change.reset and was_open:
            notices.append(Lost(event.peer, change.unsent))
        elif was_suspected and was_open and not link.suspected:
            notices.append(Recovered(event.peer))
        if change.opened:
            notices.append(Opened(event.peer))
        ready = [(packet.envelope.message, packet.body) for packet in link.take(event.packet, now)]
        notices += [Heard(event.peer, message, body) for message, body in ready if message is not None]
        actions: list[Action] = [*link.resend_missing(now), *link.flush(now)]
        self._arm(link)
        return actions, notices

    def _tick(self, now: Instant) -> Step:
        actions: list[Action] = []
        notices: list[Notice] = []
        due: list[Link] = []
        while self._wakes and self._wakes[0][0] <= now:
            instant, peer = heapq.heappop(self._wakes)
            if self._armed.get(peer) == instant:
                del self._armed[peer]
                due.append(self._links[peer])
        for link in due:
            standing, packets = link.tick(now) if link.deadline() <= now else (Standing.NOTHING, [])
            actions += packets
            if standing is Standing.SUSPECT:
                notices.append(Suspected(link.peer))
            if standing is Standing.DEAD:
                actions += self._bury(link, notices)
            else:
                self._arm(link)
        return actions, notices

    def _bury(self, link: Link, notices: list[Notice]) -> Sequence[Action]:
        was_open, was_attached = link.mutual, link.attached
        unsent = link.renew(self._epoch())
        if was_open:
            notices.append(Lost(link.peer, tuple(unsent)))
        del self._links[link.peer]
        return [HangUp(link.peer)] if was_attached else []

    def _arm(self, link: Link) -> None:
        due = link.deadline()
        armed = self._armed.get(link.peer, NEVER)
        if due < armed:
            self._armed[link.peer] = due
            heapq.heappush(self._wakes, (due, link.peer))
