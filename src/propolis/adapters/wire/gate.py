"""The gate before a listening wire: handshakes that are not finished yet, by the source they come from. Bounded, never shut.

A newcomer always gets in: at a full gate an older handshake is cut for it, the oldest of the source that holds most. So whoever
wants to keep others out must begin handshakes faster than an honest one takes to finish, and from many sources; one source has
a bound of its own (an IPv6 /64 is one source). Sources from which a member proved its key lately have room that strangers
do not take: a member comes back whatever stands at the gate.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count

from propolis.terms.address import source
from propolis.terms.identity import NodeId

MAX_HANDSHAKES = 1024
"""So many that a fleet which comes back all at once is not cut: 1,200 members took 5 s with this, 14 s with 256."""

MAX_PER_SOURCE = 256
MEMBER_SHARE = 8
"""Handshakes that a member's source may have under way before it counts like any other."""

MAX_REMEMBERED = 20_000
HELLO_SECONDS = 3.0
"""From a newcomer's first packet until its key is proven."""


class Ticket:
    """One handshake under way. `cut` ends it at once."""

    __slots__ = ("cut", "number", "source")

    def __init__(self, number: int, source: str, cut: Callable[[], object]) -> None:
        self.number = number
        self.source = source
        self.cut = cut


class Gate:
    """Who is at the gate."""

    def __init__(self, room: int | None = None, per_source: int = MAX_PER_SOURCE) -> None:
        """`room`: how many may be under way; None = MAX_HANDSHAKES, or a quarter of the files we may open where that is less."""
        self._room = room or min(MAX_HANDSHAKES, most_files() // 4)
        self._per_source = per_source
        self._numbers = count()
        self._waiting: dict[str, dict[int, Ticket]] = {}  # by source, oldest first
        self._members: dict[NodeId, str] = {}  # where each proved its key last; least lately seen first
        self._homes: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        """Return how many handshakes are under way."""
        return self._total

    def enter(self, address: str, cut: Callable[[], object]) -> Ticket:
        """Let a newcomer in; `cut` is called if it has to make room before it `leave`s."""
        ticket = Ticket(next(self._numbers), source(address), cut)
        mine = self._waiting.setdefault(ticket.source, {})
        mine[ticket.number] = ticket
        self._total += 1
        if len(mine) > self._per_source:
            self._cut(ticket.source)
        elif self._total > self._room:
            self._cut(self._fullest(ticket))
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It is finished, or failed, or was cut."""
        mine = self._waiting.get(ticket.source)
        if mine is not None and mine.pop(ticket.number, None) is not None:
            self._total -= 1
            if not mine:
                del self._waiting[ticket.source]

    def remember(self, member: NodeId, address: str) -> None:
        """A member proved its key from here; its latest source is kept, so no member can push the others out."""
        self._forget(member)
        self._members[member] = source(address)
        self._homes[source(address)] += 1
        if len(self._members) > MAX_REMEMBERED:
            self._forget(next(iter(self._members)))

    def _forget(self, member: NodeId) -> None:
        home = self._members.pop(member, None)
        if home is not None:
            self._homes[home] -= 1
            if not self._homes[home]:
                del self._homes[home]

    def _cut(self, from_source: str) -> None:
        oldest = next(iter(self._waiting[from_source].values()))
        self.leave(oldest)
        oldest.cut()

    def _fullest(self, newcomer: Ticket) -> str:
        """Return whose oldest goes: the source with most, the longest there among equals; members' share is spared."""

        def weight(name: str) -> int:
            held = len(self._waiting[name])
            return 0 if name in self._homes and held <= MEMBER_SHARE else held

        others = (name for name in self._waiting if name != newcomer.source or len(self._waiting[name]) > 1)
        return max(others, key=weight, default=newcomer.source)


def most_files() -> int:
    """Return how many files this process may have open; many where the system has no such limit."""
    try:
        import resource
    except ImportError:
        return 1 << 20
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
