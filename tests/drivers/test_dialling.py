"""A peer with addresses of two wires is reached by the one that gets through, within the time of one dial."""

import asyncio
import time

import pytest

from propolis.ports.wire import DIAL_SECONDS
from propolis.runtime import dialling
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable

CONTACT = Contact(peer=b"p" * 32, addresses=("10.0.0.1:1", "ws://10.0.0.1:2"))


class Channel:
    def __init__(self):
        self.over = False

    async def close(self):
        self.over = True


class Wire:
    """Answers after a while, or fails, or says nothing."""

    def __init__(self, scheme, seconds=0.0, error=""):
        self.scheme, self.seconds, self.error, self.dials, self.given_up = scheme, seconds, error, 0, False
        self.channel = Channel()

    async def dial(self, contact):
        self.dials += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        if self.error:
            raise PeerUnreachable(self.error)
        return self.channel


async def test_the_first_wire_is_taken_when_it_answers_and_the_second_is_left_alone():
    quic, web = Wire(""), Wire("ws")
    assert await dialling.dial([quic, web], CONTACT) == (quic.channel, quic)
    assert web.dials == 0


async def test_a_wire_that_says_nothing_is_passed_over_within_the_dials_time():
    quic, web = Wire("", seconds=60), Wire("ws")
    started = time.monotonic()
    assert await dialling.dial([quic, web], CONTACT) == (web.channel, web)
    assert time.monotonic() - started >= dialling.NEXT_SECONDS - 0.05
    await asyncio.sleep(0)
    assert quic.given_up


async def test_a_wire_that_fails_is_passed_over_at_once():
    quic, web = Wire("", error="refused"), Wire("ws")
    async with asyncio.timeout(DIAL_SECONDS):
        assert await dialling.dial([quic, web], CONTACT) == (web.channel, web)


async def test_the_slow_first_wire_still_wins_over_a_slower_second():
    quic, web = Wire("", seconds=dialling.NEXT_SECONDS + 0.2), Wire("ws", seconds=60)
    assert await dialling.dial([quic, web], CONTACT) == (quic.channel, quic)
    await asyncio.sleep(0)
    assert web.given_up


async def test_every_reason_is_told_and_nothing_takes_longer_than_a_dial():
    with pytest.raises(PeerUnreachable, match="no route; no door"):
        await dialling.dial([Wire("", error="no route"), Wire("ws", error="no door")], CONTACT)
    with pytest.raises(PeerUnreachable, match="nobody answered"):
        await asyncio.wait_for(dialling.dial([Wire("", 60), Wire("ws", 60)], CONTACT), DIAL_SECONDS + 5)


async def test_a_wire_without_an_address_is_not_asked():
    quic, web = Wire(""), Wire("ws")
    assert dialling.ways([quic, web], Contact(peer=b"p" * 32, addresses=("wss://10.0.0.1:2",))) == [web]
    assert dialling.ways([quic, web], Contact(peer=b"p" * 32, addresses=())) == [quic]


async def test_a_channel_that_comes_too_late_is_closed():
    both = [Wire("", seconds=dialling.NEXT_SECONDS + 0.01), Wire("ws", seconds=0.01)]
    channel, wire = await dialling.dial(both, CONTACT)
    await asyncio.sleep(0.1)
    (loser,) = [other for other in both if other is not wire]
    assert not channel.over
    assert loser.given_up or loser.channel.over or loser.channel is channel
