"""One link: numbered, acknowledged, resent delivery to one peer over channels that come and go, and whether it lives.

docs/specs/link.md numbers the rules cited here. A session is a pair of incarnations (ours, theirs). Within a session
every message arrives once and in order, over as many channels as it takes. A new incarnation of either side starts a new
session: what was in flight is handed back to the caller, who resynchronises. An acknowledgement leaves only after the
step that took the message was persisted (the driver's order), so acknowledged means durable.
"""

import itertools
from collections import deque

import msgspec

from propolis.messages.envelope import VERSION, Envelope, Message, Packet, Segment
from propolis.protocols.link.early import Early
from propolis.protocols.link.terms import LinkConfig, Standing
from propolis.protocols.machine import BodyPart, FromStore, Transmit
from propolis.terms.identity import NodeId
from propolis.terms.time import NEVER, Instant


class Unsent(msgspec.Struct, frozen=True):
    """A message not known to be taken, handed back when its session ends."""

    message: Message
    parts: tuple[BodyPart, ...]


class Accepted(msgspec.Struct, frozen=True):
    """What a packet's header meant. `reset` = the peer is a new incarnation; `opened` = the session just became mutual."""

    reset: bool = False
    opened: bool = False
    unsent: tuple[Unsent, ...] = ()


class _Item(msgspec.Struct):
    seq: int
    message: Message
    parts: tuple[BodyPart, ...]
    size: int
    resent: float = -1.0


def size_of(part: BodyPart) -> int:
    """Return the bytes a body part will take."""
    return part.size if isinstance(part, FromStore) else len(part)


def _memory_of(parts: tuple[BodyPart, ...]) -> int:
    return sum(len(part) for part in parts if not isinstance(part, FromStore))


class Link:
    """State of one link. Callers: protocols/link/office.py only."""

    __slots__ = (
        "_ack_due",
        "_config",
        "_cursor",
        "_early",
        "_flight_bytes",
        "_memory",
        "_next_beat",
        "_next_seq",
        "_outbox",
        "_owed",
        "_progress",
        "_taken",
        "_wanted",
        "attached",
        "epoch",
        "heard",
        "mutual",
        "peer",
        "seen",
        "suspected",
        "trusted",
        "trusting",
    )  # fmt: skip

    def __init__(self, peer: NodeId, epoch: int, now: Instant, config: LinkConfig, *, trusting: bool = True) -> None:
        """`trusting`: whoever comes is let in; otherwise each session waits for `trusted` to be set (rule 9)."""
        self.peer = peer
        self.trusting = trusting
        self._config = config
        self.epoch = epoch
        self.seen = 0
        self.attached = False
        self.mutual = False  # both sides know the pair of incarnations: the session is open
        self.suspected = False
        self.heard: Instant = now
        self._next_beat: Instant = NEVER
        self._ack_due: Instant = NEVER
        self._progress: Instant = now  # last time an acknowledgement moved, or sending began
        self._wanted: tuple[int, ...] = ()
        self._reset_numbers()

    def _reset_numbers(self) -> None:
        self._outbox: deque[_Item] = deque()
        self._cursor = 0  # how many items of the outbox are in flight on this channel
        self._flight_bytes = 0
        self._next_seq = 1
        self._taken = 0
        self._memory = 0  # bytes the outbox holds itself
        self._early = Early(self._config)
        self.trusted = self.trusting  # a session's: a new incarnation has to be let in anew
        self._owed = 0  # messages taken and not yet acknowledged
        self._ack_due = NEVER

    # -- what the caller does

    def attach(self, now: Instant) -> list[Transmit]:
        """A channel stands: say who we are, then resend what was not acknowledged (rule 4)."""
        self.attached = True
        self.heard = now
        self._rewind(now)
        return [self._beat(now, small=False), *self.flush(now)]

    def detach(self) -> None:
        """The channel is over; the session lives on until the peer is dead (rule 4)."""
        self.attached = False
        self._next_beat = NEVER

    @property
    def overfull(self) -> bool:
        """Whether more waits than the bounds allow: such a session is over at the next tick (rule 8)."""
        return len(self._outbox) > self._config.outbox_packets or self._memory > self._config.outbox_bytes

    def waiting(self, kinds: tuple[type[msgspec.Struct], ...]) -> int:
        """Return how many messages of these kinds the peer has not acknowledged."""
        return sum(isinstance(item.message, kinds) for item in self._outbox)

    def send(self, message: Message, parts: tuple[BodyPart, ...]) -> None:
        """Queue one message of the open session; call `flush` when the step ends."""
        if self.overfull:
            return  # the session is over, its caller resynchronises
        self._outbox.append(_Item(self._next_seq, message, parts, sum(map(size_of, parts))))
        self._memory += _memory_of(parts)
        self._next_seq += 1

    def renew(self, epoch: int) -> list[Unsent]:
        """End the session from our side: a new incarnation; returns what was not acknowledged (rule 5)."""
        self.epoch, self.seen, self.mutual, self.suspected = epoch, 0, False, False
        unsent = [Unsent(item.message, item.parts) for item in self._outbox]
        self._reset_numbers()
        return unsent

    def check(self) -> None:
        """Assert the bounds."""
        assert not self.mutual or self.seen, "an open session knows the peer's incarnation"
        assert self.trusted or not len(self._early), "nothing of a stranger waits"
        self._early.check()
        assert self._memory == sum(_memory_of(item.parts) for item in self._outbox)
        assert len(self._outbox) <= self._config.outbox_packets + 1

    def flush(self, now: Instant) -> list[Transmit]:
        """Put queued messages in flight, as far as the window allows."""
        if not self.attached or not self.mutual:
            return []
        packets: list[Transmit] = []
        while self._cursor < len(self._outbox) and self._window_open():
            item = self._outbox[self._cursor]
            if self._cursor == 0:
                self._progress = now
            self._cursor += 1
            self._flight_bytes += item.size
            packets.append(self._transmit(now, item.seq, item.message, item.parts))
        return packets

    # -- what arrives

    def accept(self, packet: Packet, now: Instant) -> Accepted:
        """Take a packet's header; then ask `take` for what is to be delivered."""
        envelope = packet.envelope
        if not envelope.epoch:
            return Accepted()  # nobody's incarnation: 0 stands for "not yet known"
        self.heard, self.suspected = now, False
        if envelope.epoch != self.seen:  # rule 2: a new incarnation of the peer
            unsent = tuple(Unsent(item.message, item.parts) for item in self._outbox)
            self._reset_numbers()
            self.seen, self.mutual = envelope.epoch, envelope.seen == self.epoch
            self._ack_due = now  # answer at once, so that the peer learns our incarnation
            return Accepted(reset=True, opened=self.mutual, unsent=unsent)
        if envelope.seen != self.epoch:  # rule 3: the peer does not know us yet
            self._ack_due = now
            return Accepted()
        self._acknowledged(envelope.ack, now)
        self._wanted = envelope.missing
        opened, self.mutual = not self.mutual, True
        return Accepted(opened=opened)

    def take(self, packet: Packet, now: Instant) -> list[Packet]:
        """Return the packets that are next in order, this one and those it was waiting for (rule 1)."""
        envelope = packet.envelope
        if not self.mutual or envelope.seq == 0 or envelope.seen != self.epoch or envelope.epoch != self.seen:
            return []
        if not self.trusted and (envelope.seq != 1 or sum(envelope.sizes) > self._config.stranger_bytes):
            return []  # rule 9
        if envelope.seq <= self._taken:
            self._ack_due = now  # our acknowledgement was lost
            return []
        if envelope.seq != self._taken + 1:
            self._early.keep(packet, self._taken)
            self._ack_due = min(self._ack_due, Instant(now + self._config.gap_delay))
            return []
        ready = [packet, *self._early.after(envelope.seq)]
        self._taken += len(ready)
        self._owed += len(ready)
        delay = 0.0 if self._owed >= self._config.ack_packets else self._config.ack_delay
        self._ack_due = min(self._ack_due, Instant(now + delay))
        return ready

    def resend_missing(self, now: Instant) -> list[Transmit]:
        """Send again what the peer says it lacks, each at most every `resend_again` seconds."""
        if not self._wanted or not self.attached:
            return []
        wanted, self._wanted = set(self._wanted), ()
        packets: list[Transmit] = []
        for item in itertools.islice(self._outbox, self._cursor):
            if item.seq in wanted and now >= item.resent + self._config.resend_again:
                item.resent = now
                packets.append(self._transmit(now, item.seq, item.message, item.parts))
        return packets

    def _acknowledged(self, ack: int, now: Instant) -> None:
        while self._outbox and self._outbox[0].seq <= ack:
            item = self._outbox.popleft()
            self._memory -= _memory_of(item.parts)
            if self._cursor > 0:
                self._cursor -= 1
                self._flight_bytes -= item.size
            self._progress = now

    # -- time

    def deadline(self) -> Instant:
        """Return when `tick` is wanted."""
        due = self.heard if self.overfull else min(self._next_beat, self._ack_due)
        if self._cursor and self.attached:
            due = min(due, Instant(self._progress + self._config.resend))
        if self.mutual or self.attached:
            limit = self._config.dead if self.suspected or not self.mutual else self._config.suspect
            due = min(due, Instant(self.heard + limit))
        return due

    def tick(self, now: Instant) -> tuple[Standing, list[Transmit]]:
        """Do what is due. Returns what was concluded, and packets to send."""
        if self.overfull or ((self.mutual or self.attached) and now >= self.heard + self._config.dead):
            return Standing.DEAD, []
        standing = Standing.NOTHING
        if self.mutual and not self.suspected and now >= self.heard + self._config.suspect:
            self.suspected, standing = True, Standing.SUSPECT
        if not self.attached:
            self._ack_due = NEVER
            return standing, []
        if self._cursor and now >= self._progress + self._config.resend:
            self._rewind(now)
        packets = self.flush(now)
        if now >= self._next_beat or now >= self._ack_due:
            packets.append(self._beat(now, small=True))
        return standing, packets

    # -- packets

    def _window_open(self) -> bool:
        under = self._cursor < self._config.window_packets and self._flight_bytes < self._config.window_bytes
        return under or self._cursor == 0

    def _rewind(self, now: Instant) -> None:
        self._cursor, self._flight_bytes, self._progress = 0, 0, now

    def _beat(self, now: Instant, *, small: bool) -> Transmit:
        return self._transmit(now, 0, None, (), small=small)

    def _transmit(
        self, now: Instant, seq: int, message: Message | None, parts: tuple[BodyPart, ...], *, small: bool = False
    ) -> Transmit:
        self._owed, self._ack_due = 0, NEVER
        self._next_beat = Instant(now + self._config.beat)
        envelope = Envelope(
            version=VERSION,
            epoch=self.epoch,
            seen=self.seen,
            seq=seq,
            ack=self._taken,
            missing=self._early.missing(self._taken),
            message=message,
            sizes=tuple(map(size_of, parts)),
        )
        body: tuple[Segment, ...] = ()
        return Transmit(self.peer, Packet(envelope, body), parts, small)
