"""Two links over a channel that loses, cuts and comes back: every message once and in order within a session, or handed back."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.messages.envelope import Packet
from propolis.messages.jobs import Stop
from propolis.protocols.link.office import Heard, Lost, Office, Opened
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import ChannelClosed, ChannelOpened, HangUp, Mail, PacketArrived, TimePassed, Transmit

A, B = b"a" * 32, b"b" * 32
CONFIG = LinkConfig(resend=1.5)


class Dice:
    def __init__(self, seed):
        import random

        self.random = random.Random(seed)

    def draw(self, size):
        return self.random.randbytes(size)


class Pair:
    def __init__(self, losses, echoes=None):
        self.now = 0.0
        self.echoes = echoes  # chance of a packet coming twice, and of an old one coming back
        self.past = {A: [], B: []}
        self.beats_only = False
        self.losses = losses  # booleans, drawn one per packet
        self.offices = {A: Office(Dice(1), CONFIG), B: Office(Dice(2), CONFIG)}
        self.queue = []
        self.heard = {A: [], B: []}
        self.sessions = {A: 0, B: 0}
        self.unsent = {A: [], B: []}
        self.attached = self.hung_up = False

    def attach(self):
        self.attached = True
        for me, other in ((A, B), (B, A)):
            self.take(me, *self.offices[me].handle(ChannelOpened(other, me == A), self.now))

    def cut(self):
        self.attached = False
        self.queue.clear()
        for me, other in ((A, B), (B, A)):
            self.take(me, *self.offices[me].handle(ChannelClosed(other), self.now))

    def restart(self, me):
        self.cut()
        self.offices[me] = Office(Dice(self.now + 3), CONFIG)
        self.attach()

    def send(self, me, number):
        other = B if me == A else A
        mail = Mail(other, Stop(job=number.to_bytes(16, "big")))
        self.take(me, self.offices[me].post([mail], self.now), [])

    def take(self, me, actions, notices):
        for action in actions:
            self.hung_up |= isinstance(action, HangUp)
            if isinstance(action, Transmit) and self.attached and not (self.losses.pop() if self.losses else False):
                if self.beats_only and action.packet.envelope.seq:
                    continue
                self.queue.append((me, action.packet))
                self._echo(me, action.packet)
        for notice in notices:
            match notice:
                case Opened():
                    self.sessions[me] += 1
                    self.heard[me].append([])
                case Heard(message=message):
                    self.heard[me][-1].append(int.from_bytes(message.job, "big"))
                case Lost(unsent=unsent):
                    self.unsent[me] += [int.from_bytes(u.message.job, "big") for u in unsent]

    def _echo(self, me, packet):
        """A carrier, or who sits on one, may say things twice and bring back what was said on earlier channels."""
        if self.echoes is None:
            return
        self.past[me].append(packet)
        for _ in range(self.echoes.choice([0, 0, 1, 2])):
            self.queue.insert(self.echoes.randint(0, len(self.queue)), (me, packet))
        if self.echoes.random() < 0.3:
            self.queue.append((me, self.echoes.choice(self.past[me])))

    def run(self, seconds):
        end = self.now + seconds
        while True:
            while self.queue:
                sender, packet = self.queue.pop(0)
                to, of = (B, A) if sender == A else (A, B)
                self.take(to, *self.offices[to].handle(PacketArrived(of, Packet(packet.envelope, ())), self.now))
            due = [d for d in (o.deadline() for o in self.offices.values()) if d is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            for me in (A, B):
                office = self.offices[me]
                if office.deadline() is not None and office.deadline() <= self.now:
                    self.take(me, *office.handle(TimePassed(), self.now))
                office.check()
            if self.hung_up:  # one side gave the other up: it dials again, as a member does
                self.hung_up = False
                self.cut()
                self.attach()
        self.now = end


@given(st.lists(st.booleans(), max_size=150), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_lossy_channel_delivers_all_once_in_order(losses, count):
    # at most every other packet is lost, so that heartbeats keep the session alive
    thinned = [loss and n % 2 == 0 for n, loss in enumerate(losses)]
    pair = Pair(thinned)
    pair.attach()
    pair.run(3)
    if not pair.offices[A].is_open(B) or not pair.offices[B].is_open(A):
        pair.run(10)
    assert pair.offices[A].is_open(B)
    for number in range(count):
        pair.send(A, number)
    pair.run(120)
    assert pair.heard[B][-1] == list(range(count))


@given(st.integers(1, 20), st.floats(0.1, 4.5))
@settings(max_examples=40, deadline=None)
def test_a_short_cut_loses_nothing_and_says_nothing(count, gap):
    pair = Pair([])
    pair.attach()
    pair.run(1)
    for number in range(count):
        pair.send(A, number)
        if number == count // 2:
            pair.cut()
            pair.run(gap)
            pair.attach()
    pair.run(20)
    assert pair.heard[B] == [list(range(count))]
    assert pair.sessions == {A: 1, B: 1}


def test_a_long_cut_ends_the_session_and_hands_back_what_was_not_taken():
    pair = Pair([])
    pair.attach()
    pair.run(1)
    pair.cut()
    pair.send(A, 7)
    pair.run(10)
    assert pair.unsent[A] == [7]
    pair.attach()
    pair.run(2)
    assert pair.sessions == {A: 2, B: 2}


def test_a_restart_is_noticed_at_once_and_nothing_old_is_delivered_into_the_new_session():
    pair = Pair([])
    pair.attach()
    pair.run(1)
    pair.send(A, 1)
    pair.run(1)
    pair.restart(B)
    pair.run(1)
    pair.send(A, 2)
    pair.run(2)
    assert pair.heard[B] == [[1], [2]]
    assert pair.sessions[A] == 2


def test_silence_is_suspected_after_three_and_dead_after_five_seconds():
    pair = Pair([])
    pair.attach()
    pair.run(1)
    pair.losses = [True] * 10_000
    started = pair.now
    suspected = dead = None
    while dead is None:
        pair.run(0.25)
        office = pair.offices[A]
        if suspected is None and office.is_suspect(B):
            suspected = pair.now - started
        if not office.is_open(B):
            dead = pair.now - started
    assert 2.0 <= suspected <= 3.5
    assert 4.0 <= dead <= 5.5


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_packets_doubled_reordered_and_replayed_within_a_session_are_heard_once_and_in_order(seed, count):
    random = Random(seed)
    pair = Pair([], random)
    pair.attach()
    pair.run(1)
    for number in range(count):
        pair.send(A, number)
        pair.send(B, number)
        if random.random() < 0.2:
            pair.run(random.random())
        if random.random() < 0.1:
            pair.cut()
            pair.run(random.random())
            pair.attach()
    pair.run(60)
    assert pair.heard == {A: [list(range(count))], B: [list(range(count))]}
    assert pair.sessions == {A: 1, B: 1}


@given(st.integers(0, 2**32), st.integers(1, 10))
@settings(max_examples=40, deadline=None)
def test_a_restart_among_replayed_packets_delivers_nothing_twice_in_one_session(seed, count):
    random = Random(seed)
    pair = Pair([], random)
    pair.attach()
    pair.run(1)
    for number in range(count):
        pair.send(A, number)
    pair.run(random.random())
    pair.restart(B)
    pair.past = {A: [], B: []}  # the carrier's keys are a channel's own: nothing comes back across the restart
    pair.run(2)
    for number in range(count, 2 * count):
        pair.send(A, number)
    pair.run(60)
    assert pair.heard[B][-1] == list(range(count, 2 * count))
    assert all(said == sorted(set(said)) for said in pair.heard[B])


@given(st.integers(1, 30), st.floats(0.1, 30.0))
@settings(max_examples=30, deadline=None)
def test_beats_alone_keep_the_session_and_messages_follow_when_they_can(count, seconds):
    pair = Pair([])
    pair.attach()
    pair.run(1)
    pair.beats_only = True
    for number in range(count):
        pair.send(A, number)
    pair.run(seconds)
    assert pair.offices[A].is_open(B)
    assert pair.offices[B].is_open(A)
    assert pair.heard[B] == [[]]
    pair.beats_only = False
    pair.run(30)
    assert pair.heard[B] == [list(range(count))]
    assert pair.sessions == {A: 1, B: 1}
