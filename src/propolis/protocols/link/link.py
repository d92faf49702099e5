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
from propolis.protocols.machine import BodyPart, FromStore, Transmit
from propolis.terms.identity import NodeId
from propolis.terms.time import NEVER, Instant

MAX_MISSING = 32


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times of a link, in seconds, packets and bytes."""

    beat: float = 1.0
    suspect: float = 3.0
    dead: float = 5.0
    ack_delay: float = 0.2
    gap_delay: float = 0.02
    resend: float = 8.0
    window_packets: int = 256
    window_bytes: int = 24 * 1024 * 1024
    ack_packets: int = 16
    resend_again: float = 0.3


class Unsent(msgspec.Struct, frozen=True):
    """A message not known to be taken, handed back when its session ends."""

    message: Message
    parts: tuple[BodyPart, ...]


class _Item(msgspec.Struct):
    seq: int
    message: Message
    parts: tuple[BodyPart, ...]
    size: int
    resent: float = -1.0


def size_of(part: BodyPart) -> int:
    """Return the bytes a body part will take."""
    return part.size if isinstance(part, FromStore) else len(part)


class Link:
    """State of one link. Callers: protocols/link/office.py only."""

    __slots__ = (
        "_ack_due",
        "_config",
        "_cursor",
        "_flight_bytes",
        "_held",
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
    )  # fmt: skip

    def __init__(self, peer: NodeId, epoch: int, now: Instant, config: LinkConfig) -> None:
        self.peer = peer
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
        self._held: dict[int, Packet] = {}  # came out of order, waiting for what is missing
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

    def send(self, message: Message, parts: tuple[BodyPart, ...]) -> None:
        """Queue one message of the open session; call `flush` when the step ends."""
        self._outbox.append(_Item(self._next_seq, message, parts, sum(map(size_of, parts))))
        self._next_seq += 1

    def renew(self, epoch: int) -> list[Unsent]:
        """End the session from our side: a new incarnation; returns what was not acknowledged (rule 5)."""
        self.epoch, self.seen, self.mutual, self.suspected = epoch, 0, False, False
        unsent = [Unsent(item.message, item.parts) for item in self._outbox]
        self._reset_numbers()
        return unsent

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

    def accept(self, packet: Packet, now: Instant) -> tuple[str, list[Unsent]]:
        """Take a packet's header. Returns what became of it, and what a dying session leaves unsent.

        "reset": the peer is a new incarnation; "open": the session just became mutual; "": nothing new. After "open" or
        "" ask `take` whether the message is to be delivered.
        """
        envelope = packet.envelope
        self.heard, self.suspected = now, False
        if envelope.epoch != self.seen:  # rule 2: a new incarnation of the peer
            unsent = [Unsent(item.message, item.parts) for item in self._outbox]
            self._reset_numbers()
            self.seen, self.mutual = envelope.epoch, False
            self._ack_due = now  # answer at once, so that the peer learns our incarnation
            if envelope.seen == self.epoch:
                self.mutual = True
                return "reset+open", unsent
            return "reset", unsent
        if envelope.seen != self.epoch:  # rule 3: the peer does not know us yet
            self._ack_due = now
            return "", []
        self._acknowledged(envelope.ack, now)
        self._wanted = envelope.missing
        if not self.mutual:
            self.mutual = True
            return "open", []
        return "", []

    def take(self, packet: Packet, now: Instant) -> list[Packet]:
        """Return the packets that are next in order, this one and those it was waiting for (rule 1)."""
        envelope = packet.envelope
        if envelope.seq == 0 or envelope.seen != self.epoch or envelope.epoch != self.seen:
            return []
        if envelope.seq <= self._taken:
            self._ack_due = now  # our acknowledgement was lost
            return []
        if envelope.seq != self._taken + 1:
            if len(self._held) < self._config.window_packets:
                self._held[envelope.seq] = packet
            self._ack_due = min(self._ack_due, Instant(now + self._config.gap_delay))
            return []
        ready = [packet]
        self._taken += 1
        while self._taken + 1 in self._held:
            self._taken += 1
            ready.append(self._held.pop(self._taken))
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

    def _missing(self) -> tuple[int, ...]:
        if not self._held:
            return ()
        highest = max(self._held)
        lacking = (seq for seq in range(self._taken + 1, highest) if seq not in self._held)
        return tuple(itertools.islice(lacking, MAX_MISSING))

    def _acknowledged(self, ack: int, now: Instant) -> None:
        while self._outbox and self._outbox[0].seq <= ack:
            item = self._outbox.popleft()
            if self._cursor > 0:
                self._cursor -= 1
                self._flight_bytes -= item.size
            self._progress = now

    # -- time

    def deadline(self) -> Instant:
        """Return when `tick` is wanted."""
        due = min(self._next_beat, self._ack_due)
        if self._cursor and self.attached:
            due = min(due, Instant(self._progress + self._config.resend))
        if self.mutual or self.attached:
            limit = self._config.dead if self.suspected or not self.mutual else self._config.suspect
            due = min(due, Instant(self.heard + limit))
        return due

    def tick(self, now: Instant) -> tuple[str, list[Transmit]]:
        """Do what is due. Returns "suspect" or "dead" when that was concluded, and packets to send."""
        if (self.mutual or self.attached) and now >= self.heard + self._config.dead:
            return "dead", []
        verdict = ""
        if self.mutual and not self.suspected and now >= self.heard + self._config.suspect:
            self.suspected, verdict = True, "suspect"
        if not self.attached:
            self._ack_due = NEVER
            return verdict, []
        if self._cursor and now >= self._progress + self._config.resend:
            self._rewind(now)
        packets = self.flush(now)
        if now >= self._next_beat or now >= self._ack_due:
            packets.append(self._beat(now, small=True))
        return verdict, packets

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
            missing=self._missing(),
            message=message,
            sizes=tuple(map(size_of, parts)),
        )
        body: tuple[Segment, ...] = ()
        return Transmit(self.peer, Packet(envelope, body), parts, small)
