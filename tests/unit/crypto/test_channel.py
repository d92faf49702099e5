"""The channel inside a WebSocket: both keys proven, every message in its place, nothing else opens."""

import pytest

from propolis.crypto import identity
from propolis.crypto.channel import Handshake
from propolis.terms.errors import SealBroken

CLIENT, SERVER, OTHER = b"c" * 32, b"s" * 32, b"o" * 32


def shake(client=CLIENT, server=SERVER, wanted=None, tamper=lambda step, data: data):
    c, s = Handshake(client, b"1" * 32), Handshake(server, b"2" * 32)
    hello = tamper(1, c.hello())
    answer = tamper(2, s.answer(hello))
    message, c_send, c_receive = c.finish(answer, wanted or identity.public_of(server))
    peer, s_send, s_receive = s.accept(tamper(3, message))
    assert peer == identity.public_of(client)
    return c_send, c_receive, s_send, s_receive


def test_messages_pass_both_ways_in_order():
    c_send, c_receive, s_send, s_receive = shake()
    for n in range(5):
        assert s_receive.open(c_send.seal(b"%d" % n)) == b"%d" % n
        assert c_receive.open(s_send.seal(b"r%d" % n)) == b"r%d" % n


def test_another_key_at_the_address_is_refused():
    with pytest.raises(SealBroken, match="another key"):
        shake(server=OTHER, wanted=identity.public_of(SERVER))


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("at", [0, 31, -1])
def test_a_flipped_bit_in_any_step_ends_the_handshake(step, at):
    def tamper(now, data):
        if now != step:
            return data
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    with pytest.raises(SealBroken):
        shake(tamper=tamper)


@pytest.mark.parametrize("hello", [b"", b"x" * 31, b"x" * 33, bytes(32)])
def test_a_hello_that_is_none_is_refused(hello):
    with pytest.raises(SealBroken):
        Handshake(SERVER, b"2" * 32).answer(hello)


def test_replayed_dropped_and_reflected_messages_do_not_open():
    c_send, _, _, s_receive = shake()
    first = c_send.seal(b"one")
    assert s_receive.open(first) == b"one"
    with pytest.raises(SealBroken):
        s_receive.open(first)
    c_send, _, _, s_receive = shake()
    c_send.seal(b"dropped")
    with pytest.raises(SealBroken):
        s_receive.open(c_send.seal(b"second"))
    c_send, c_receive, _, _ = shake()
    with pytest.raises(SealBroken):
        c_receive.open(c_send.seal(b"mine"))


def test_a_recorded_handshake_does_not_serve_a_fresh_server():
    recorded = {}

    def record(step, data):
        recorded[step] = data
        return data

    shake(tamper=record)
    server = Handshake(SERVER, b"9" * 32)
    server.answer(recorded[1])
    with pytest.raises(SealBroken):
        server.accept(recorded[3])
