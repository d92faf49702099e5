"""What a peer makes a link keep is bounded, whatever it sends and whatever it never acknowledges; strangers get little."""

import pytest

from propolis.messages.envelope import MAX_BODY, VERSION, Envelope, FrameReader, Packet, pack
from propolis.messages.jobs import Ask, Stop
from propolis.messages.membership import Join, Role, Welcome
from propolis.parties.orchestrator import MAX_UNANSWERED, OrchestratorParty
from propolis.protocols.link.office import Heard, Lost, Office, Opened
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import ChannelClosed, ChannelOpened, HangUp, Mail, PacketArrived, TimePassed, Transmit
from propolis.protocols.membership.registrar import STRANGER_SECONDS
from propolis.runtime.known import known_today

PEER = b"p" * 32


class Counter:
    n = 0

    def draw(self, size):
        self.n += 1
        return self.n.to_bytes(size, "big")


class Peer:
    """Says what it likes, to an office or a party."""

    def __init__(self, machine, office):
        self.machine, self.office, self.now = machine, office, 0.0
        self.come()

    def come(self):
        actions = self.machine.handle(ChannelOpened(PEER, False), self.now)
        actions = actions[0] if isinstance(actions, tuple) else actions
        self.epoch = next((a.packet.envelope.epoch for a in actions if isinstance(a, Transmit)), 0)

    def say(self, seq, message=None, size=0, epoch=9, ack=0):
        envelope = Envelope(
            version=VERSION, epoch=epoch, seen=self.epoch, seq=seq, ack=ack, message=message,
            sizes=(size,) if size else (),
        )  # fmt: skip
        said = self.machine.handle(PacketArrived(PEER, Packet(envelope, (b"",) * bool(size))), self.now)
        self.office.check()
        return said

    def wait(self, seconds):
        self.now += seconds
        return self.machine.handle(TimePassed(), self.now)


def stop(number):
    return Stop(job=number.to_bytes(16, "big"))


def office_and_peer(trusting=True, **config):
    office = Office(Counter(), LinkConfig(**config), trusting=trusting)
    return office, Peer(office, office)


def party_and_peer():
    party = OrchestratorParty(Counter(), 1, known_today())
    return party, Peer(party, party.office)


def test_packets_before_their_turn_are_kept_within_bytes_and_what_was_not_kept_comes_again():
    _, peer = office_and_peer(held_bytes=3 * MAX_BODY)
    for seq in range(2, 300):
        peer.say(seq, stop(seq), MAX_BODY)  # check() in `say` asserts the bound
    _, notices = peer.say(1, stop(1))
    assert [n.message for n in notices] == [stop(n) for n in (1, 2, 3, 4)]
    _, notices = peer.say(5, stop(5), MAX_BODY)
    assert [n.message for n in notices] == [stop(5)]


def test_a_packet_sent_again_before_its_turn_is_counted_once_and_one_far_ahead_not_at_all():
    _, peer = office_and_peer(held_bytes=MAX_BODY)
    for _ in range(10):
        peer.say(2, stop(2), MAX_BODY)
    peer.say(2**62, stop(3))
    _, notices = peer.say(1, stop(1))
    assert [n.message for n in notices] == [stop(1), stop(2)]


@pytest.mark.parametrize(("seq", "size"), [(2, 0), (2, MAX_BODY), (1, MAX_BODY), (1, 64 * 1024 + 1)])
def test_of_a_stranger_only_small_first_words_are_listened_to(seq, size):
    office, peer = office_and_peer(trusting=False)
    _, notices = peer.say(seq, stop(1), size)
    assert notices == [Opened(PEER)]
    assert [type(n) for n in peer.say(1, stop(2))[1]] == [Heard]
    office.admit(PEER)
    assert [n.message for n in peer.say(2, stop(3), MAX_BODY)[1]] == [stop(3)]


def test_a_strangers_session_goes_with_its_channel_and_a_new_incarnation_is_a_stranger_again():
    office, peer = office_and_peer(trusting=False)
    peer.say(0)
    assert office.handle(ChannelClosed(PEER), 0.0) == ([], [Lost(PEER, ())])
    assert not office.knows(PEER)
    peer.come()
    peer.say(0)
    office.admit(PEER)
    office.handle(ChannelClosed(PEER), 0.0)
    peer.come()
    assert office.trusts(PEER), "a member's session outlives its channel"
    peer.say(0, epoch=10)
    assert not office.trusts(PEER)


def test_a_strangers_large_frame_is_passed_over_and_what_follows_is_read():
    def frame(seq, body):
        envelope = Envelope(version=VERSION, epoch=1, seen=0, seq=seq, ack=0, sizes=(len(body),))
        return b"".join(bytes(part) for part in pack(Packet(envelope, (body,))))

    data = frame(1, b"a" * 10) + frame(2, bytes(1_000_000)) + frame(3, b"b") + frame(4, bytes(101)) + frame(5, b"")
    for step in (len(data), 65_536, 7):
        reader, seqs, most = FrameReader(limit=100), [], 0
        for start in range(0, len(data), step):
            seqs += [packet.envelope.seq for packet in reader.feed(data[start : start + step])]
            most = max(most, len(reader._buffer))
        assert seqs == [1, 3, 5]
        assert most < max(200, 0 if step == len(data) else step)


def test_dialling_again_does_not_renew_a_strangers_time():
    party, peer = party_and_peer()
    met = peer.now
    while True:
        peer.say(0)
        for _ in range(3):
            actions = peer.wait(0.25)
            if HangUp(PEER) in actions:
                assert peer.now <= met + STRANGER_SECONDS + 0.25
                assert not party.office.knows(PEER)
                return
        party.handle(ChannelClosed(PEER), peer.now)
        assert not party.office.knows(PEER), "nothing of a stranger outlives its channel"
        peer.come()
        party.check()
        assert peer.now < met + 2 * STRANGER_SECONDS


def test_a_stranger_that_went_is_forgotten():
    party, peer = party_and_peer()
    party.handle(ChannelClosed(PEER), 0.0)
    peer.wait(STRANGER_SECONDS)
    assert party.registrar.deadline() is None
    assert not party.registrar._gone


def test_a_member_that_begins_anew_without_a_word_has_a_strangers_time():
    party, peer = party_and_peer()
    token, _ = party.registrar.invite(Role.OWNER)
    peer.say(1, Join(role=Role.OWNER, token=token))
    assert party.registrar.deadline() is None
    peer.say(0, epoch=10)
    peer.now += STRANGER_SECONDS - 0.1
    peer.say(0, epoch=10)
    assert HangUp(PEER) in peer.wait(0.2)
    party.check()


@pytest.mark.parametrize(("config", "size"), [({"outbox_packets": 100}, 0), ({"outbox_bytes": 100_000}, 1000)])
def test_a_member_that_never_acknowledges_loses_its_session_and_nothing_grows(config, size):
    office, peer = office_and_peer(**config)
    peer.say(0)
    for number in range(1000):
        office.post([Mail(PEER, stop(number), (bytes(size),))], 0.0)
        office.check()
    assert office.deadline() <= 0.0
    actions, notices = peer.wait(0.0)
    assert HangUp(PEER) in actions
    (lost,) = notices
    assert isinstance(lost, Lost)
    assert len(lost.unsent) == 101
    office.check()


def test_an_owner_that_takes_no_answers_is_answered_no_more():
    party, peer = party_and_peer()
    token, _ = party.registrar.invite(Role.OWNER)
    said = peer.say(1, Join(role=Role.OWNER, token=token))
    answers = sum(isinstance(a, Transmit) and a.packet.envelope.seq > 0 for a in said)
    assert isinstance(next(a.packet.envelope.message for a in said if isinstance(a, Transmit)), Welcome)
    for number in range(600):
        said = peer.say(number + 2, Ask(request=number, what="jobs"))
        answers += sum(isinstance(a, Transmit) and a.packet.envelope.seq > 0 for a in said)
    assert answers == MAX_UNANSWERED + 1
    said = peer.say(602, Ask(request=1, what="jobs"), ack=answers)
    assert any(isinstance(a, Transmit) and a.packet.envelope.seq > 0 for a in said)


def test_nobody_has_incarnation_zero():
    office, peer = office_and_peer()
    _, notices = peer.say(1, stop(1), epoch=0)
    assert notices == []
    assert not office.is_open(PEER)
