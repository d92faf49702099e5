"""A hand pump for parties: virtual time, instant perfect channels, every packet through the real codec. No kernel, no I/O."""

import heapq
import itertools
import random

from propolis.adapters.solver.greedy import GreedySolver
from propolis.adapters.store.memory import MemoryStore
from propolis.crypto import identity
from propolis.messages import codec
from propolis.messages import envelope as env
from propolis.ports.executor import TaskOutput
from propolis.protocols import machine as m
from propolis.protocols.jobs import events as ev
from propolis.terms.job import Receipt


class Chance:
    def __init__(self, seed):
        self.dice = random.Random(seed)

    def draw(self, size):
        return self.dice.randbytes(size)


class Pump:
    """Parties by id; `stores` survive a kill."""

    def __init__(self):
        self.now = 0.0
        self.parties = {}
        self.stores = {}
        self.channels = set()
        self.heap = []
        self.order = itertools.count()
        self.told = []
        self.cut = set()
        self.seeds = {}
        self.isolation = {}
        self.task_ms = 10.0
        self.results = {}
        self.refuse_open = set()
        self.guests = {}
        self.invited = {}  # node -> credential

    def add(self, name, party):
        self.parties[name] = party
        self.stores.setdefault(name, MemoryStore())
        self.at(0, name, m.TimePassed())

    def at(self, delay, name, event):
        heapq.heappush(self.heap, (self.now + delay, next(self.order), name, event))

    def kill(self, name):
        del self.parties[name]
        for pair in [p for p in self.channels if name in p]:
            self.channels.discard(pair)
            other = pair[0] if pair[1] == name else pair[1]
            self.at(0, other, m.ChannelClosed(name))

    def run(self, until, stop=lambda: False):
        while self.now < until and not stop():
            due = [(p.deadline(), n) for n, p in self.parties.items() if p.deadline() is not None]
            when, name = min(due, default=(float("inf"), b""))
            if self.heap and self.heap[0][0] <= when:
                self.now, _, name, event = heapq.heappop(self.heap)
                self.now = max(self.now, 0.0)
            elif when < until:
                self.now, event = max(self.now, when), m.TimePassed()
            else:
                self.now = until
                return
            party = self.parties.get(name)
            if party is not None:
                self.act(name, party.handle(event, self.now))
                party.check()

    def act(self, name, actions):
        for a in [x for x in actions if isinstance(x, m.Persist)]:
            self.stores[name].commit(a.writes)
        for a in actions:
            self.one(name, a)

    def one(self, name, a):
        match a:
            case m.Dial(contact=c):
                peer = c.id
                if peer in self.parties and (name, peer) not in self.cut:
                    self.channels.add((name, peer))
                    self.at(0.001, name, m.ChannelOpened(peer, True))
                    self.at(0.001, peer, m.ChannelOpened(name, False, "seen"))
                else:
                    self.at(0.001, name, m.DialFailed(peer, "nobody"))
            case m.HangUp(peer=peer):
                for pair in [p for p in self.channels if name in p and peer in p]:
                    self.channels.discard(pair)
                    self.at(0.001, peer, m.ChannelClosed(name))
                    self.at(0.001, name, m.ChannelClosed(peer))
            case m.Transmit(peer=peer, packet=packet, parts=parts):
                if not any(name in p and peer in p for p in self.channels) or (name, peer) in self.cut:
                    return
                full = m.filled(packet, parts, self.stores[name].get)
                raw = b"".join(bytes(x) for x in env.pack(full))
                (got,) = env.FrameReader().feed(raw)
                self.at(0.001, peer, m.PacketArrived(name, got))
            case ev.Solve(ticket=t, problem=p):
                self.at(0.001, name, m.WorkDone(t, GreedySolver().solve(p)))
            case ev.FetchProgram(ticket=t):
                self.at(0.01, name, m.WorkDone(t))
            case ev.StartGuest(ticket=t, order=o):
                iso = self.isolation[name]
                r = codec.encode(
                    Receipt(
                        node=name,
                        job=o.job,
                        guest=o.guest,
                        guest_key=bytes(32),
                        isolation=iso,
                        credential=self.invited.get(name),
                    )
                )
                sig = identity.sign(self.seeds[name], identity.RECEIPT, r)
                self.guests.setdefault(name, set()).add(o.guest)
                self.at(0.05, name, m.WorkDone(t, ev.Started(r, sig)))
            case ev.GrantGuest(ticket=t):
                self.at(0.05, name, m.WorkDone(t))
            case ev.FeedGuest(guest=g, inputs=inputs):
                for n, i in enumerate(inputs):
                    out = TaskOutput(
                        index=i.index, attempt=i.attempt, sealed=b"r%d" % i.index, milliseconds=self.task_ms
                    )
                    self.at(self.task_ms / 1e3 * (n + 1), name, ev.GuestReported(g, (out,)))
            case ev.KillGuest(guest=g):
                self.at(0.01, name, ev.GuestEnded(g, "executor.crashed", "killed"))
            case ev.SealGrant(ticket=t):
                self.at(0.001, name, m.WorkDone(t, b"grant"))
            case ev.OpenResults(ticket=t, items=items, sealed=sealed):
                verdicts = [(i.node, i.index) not in self.refuse_open for i in items]
                for i, s, good in zip(items, sealed, verdicts, strict=True):
                    if good:
                        self.results.setdefault((name, i.index), []).append(bytes(s))
                self.at(0.001, name, m.WorkDone(t, verdicts))
            case m.Tell(note=note):
                self.told.append((name, note))
            case m.Persist() | ev.DropProgram():
                pass
            case _:
                raise AssertionError(a)
