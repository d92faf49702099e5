"""The kernel: a heap of (instant, order, party, event) under virtual time, running the very parties that real nodes run.

It does what the driver and the post do for real: commits writes before packets leave, opens and closes channels, reads
stored body parts when a packet leaves, calls TimePassed when a deadline is due. Work is answered by the world it is given.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Iterator

from propolis.adapters.store.memory import MemoryStore
from propolis.messages.envelope import FrameReader, pack
from propolis.ports.store import Write
from propolis.ports.wire import DIAL_SECONDS
from propolis.protocols.link.link import size_of
from propolis.protocols.machine import (
    Action,
    ChannelClosed,
    ChannelOpened,
    Dial,
    DialFailed,
    Event,
    HangUp,
    Machine,
    PacketArrived,
    Persist,
    Tell,
    TimePassed,
    Transmit,
    filled,
)
from propolis.simulator.network import Network
from propolis.simulator.trace import Trace
from propolis.terms.identity import NodeId
from propolis.terms.time import NEVER, Instant

World = Callable[["Kernel", NodeId, Action], None]
OPENING_SECONDS = 0.05
ROUND_SECONDS = 0.0005


class Dice:
    """One party's entropy, derived from the run's seed and its name."""

    def __init__(self, seed: int, name: bytes, birth: int) -> None:
        self._random = random.Random(f"{seed}/{name.hex()}/{birth}")  # noqa: S311  a simulation must repeat

    def draw(self, size: int) -> bytes:
        """Return bytes."""
        return self._random.randbytes(size)


class Kernel:
    """One simulated world. `checking` = assert every party's invariants every so many steps (0: never)."""

    def __init__(
        self,
        seed: int,
        network: Network,
        world: World,
        *,
        checking: int = 0,
        encode: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.seed = seed
        self.now = 0.0
        self.network = network
        self.trace = trace or Trace()
        self.parties: dict[NodeId, Machine] = {}
        self.stores: dict[NodeId, MemoryStore] = {}
        self.told: list[tuple[NodeId, object]] = []
        self._world = world
        self._checking = checking
        self._encode = encode
        self._heap: list[tuple[float, int, NodeId, Event | None, int]] = []
        self._order = itertools.count()
        self._births: dict[NodeId, int] = {}
        self._channels: dict[NodeId, dict[NodeId, int]] = {}
        self._armed: dict[NodeId, float] = {}
        self._serial = itertools.count(1)

    # -- parties

    def dice(self, name: NodeId) -> Dice:
        """Return fresh entropy for the party's next birth."""
        return Dice(self.seed, name, self._births.get(name, 0) + 1)

    def add(self, name: NodeId, party: Machine) -> None:
        """Bring a party to life, for the first time or after a kill; its store is what it left."""
        self._births[name] = self._births.get(name, 0) + 1
        self.parties[name] = party
        self.stores.setdefault(name, MemoryStore())
        self._channels.setdefault(name, {})
        self.post(0.0, name, TimePassed())

    def kill(self, name: NodeId, *, silent: bool = True) -> None:
        """Kill -9: state gone, store kept. Silent as over UDP: peers notice by themselves."""
        del self.parties[name]
        self._armed.pop(name, None)
        for peer in list(self._channels[name]):
            self._channels[peer].pop(name, None)
            if not silent:
                self.post(0.0, peer, ChannelClosed(name))
        self._channels[name].clear()
        self.network.forget(name)

    def post(self, delay: float, name: NodeId, event: Event) -> None:
        """Hand a party an event after `delay` seconds, if the same incarnation is alive then."""
        birth = self._births.get(name, 0)
        heapq.heappush(self._heap, (self.now + delay, next(self._order), name, event, birth))

    # -- running

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> None:
        """Run to the virtual second `until`, or until `stop()`."""
        while self._heap and self._heap[0][0] <= until:
            at, _, name, event, birth = heapq.heappop(self._heap)
            party = self.parties.get(name)
            if party is None or birth != self._births[name]:
                continue
            if event is None:
                if self._armed.get(name) != at:
                    continue
                del self._armed[name]
                event = TimePassed()
            self.now = max(self.now, at)
            self._round(name, party, [event, *self._together(name, birth, until)])
            if stop is not None and stop():
                return
        self.now = max(self.now, until) if stop is None else self.now

    def _together(self, name: NodeId, birth: int, until: float) -> Iterator[Event]:
        """Yield what arrives for the same party within the time of a round: the driver, too, takes all that waits at once."""
        end = min(self.now + ROUND_SECONDS, until)
        while self._heap and self._heap[0][0] <= end:
            at, _, other, event, born = self._heap[0]
            if other != name or event is None or born != birth:
                return
            heapq.heappop(self._heap)
            self.now = max(self.now, at)
            yield event

    def _round(self, name: NodeId, party: Machine, events: Iterable[Event]) -> None:
        """Handle events, commit what they write, then act: write, then send, as runtime/driver.py does."""
        actions: list[Action] = []
        before = self.trace.steps
        for event in events:
            self.trace.step(self.now, name, event)
            actions += party.handle(event, Instant(self.now))
        for action in actions:
            if isinstance(action, Persist):
                self.commit(name, action.writes)
        for action in actions:
            self._do(name, action)
        if self._checking and self.trace.steps // self._checking != before // self._checking:
            party.check()
        due = party.deadline()
        if due is not None and due != NEVER:
            at = max(due, self.now)
            if at < self._armed.get(name, NEVER) or self._armed[name] < self.now:
                self._armed[name] = at
                heapq.heappush(self._heap, (at, next(self._order), name, None, self._births[name]))

    def commit(self, name: NodeId, writes: Iterable[Write]) -> None:
        """Apply writes to a party's store."""
        self.stores[name].commit(tuple(writes))

    def _do(self, name: NodeId, action: Action) -> None:
        match action:
            case Transmit():
                self._transmit(name, action)
            case Persist():
                pass
            case Tell(note=note):
                self.told.append((name, note))
            case Dial(contact=contact):
                self._dial(name, contact.id)
            case HangUp(peer=peer):
                self._hang_up(name, peer)
            case _:
                self._world(self, name, action)

    # -- channels

    def _dial(self, name: NodeId, peer: NodeId) -> None:
        if peer in self.parties and self.network.reachable(name, peer):
            serial = next(self._serial)
            self._channels[name][peer] = self._channels[peer][name] = serial
            self.post(OPENING_SECONDS, name, ChannelOpened(peer, True))
            self.post(OPENING_SECONDS, peer, ChannelOpened(name, False, "sim"))
        else:
            self.post(DIAL_SECONDS, name, DialFailed(peer, "nobody answers"))

    def _hang_up(self, name: NodeId, peer: NodeId) -> None:
        if self._channels[name].pop(peer, None) is not None:
            self._channels.get(peer, {}).pop(name, None)
            self.post(0.0, name, ChannelClosed(peer))
            if self.network.reachable(name, peer):
                self.post(self.network.model.delay, peer, ChannelClosed(name))

    def _transmit(self, name: NodeId, action: Transmit) -> None:
        peer = action.peer
        if peer not in self._channels[name]:
            return
        packet = action.packet
        size = 64
        if action.parts:
            packet = filled(packet, action.parts, self.stores[name].get)
            size += sum(map(size_of, action.parts))
        at = self.network.arrival(self.now, name, peer, size)
        if at is None:
            return
        if self._encode:
            (packet,) = FrameReader().feed(b"".join(bytes(part) for part in pack(packet)))
        heapq.heappush(
            self._heap, (at, next(self._order), peer, PacketArrived(name, packet), self._births.get(peer, 0))
        )
