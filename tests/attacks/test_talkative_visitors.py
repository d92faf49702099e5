"""Peers that a node expects for chunks alone, and that say they came to talk: they would hold a line for ever, and frames with it."""

import asyncio
import logging
import secrets

import pytest
from hub import HUB, KNOWN, REPORT, Zero

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.wire.memory import MemoryNet
from propolis.adapters.world.system import SystemClock
from propolis.parties.node import node_party
from propolis.runtime.household import Household
from propolis.runtime.post import Post
from propolis.terms.contact import Contact


@pytest.mark.timeout(120)
async def test_an_expected_peer_that_comes_to_talk_is_hung_up_on():
    net = MemoryNet()
    ours, visitor = net.wire(secrets.token_bytes(32)), net.wire(secrets.token_bytes(32))
    node = node_party(Zero(), Contact(peer=HUB, addresses=("memory",)), REPORT, KNOWN, node=b"n" * 32)
    household = Household(node, [ours], MemoryStore(), SystemClock())
    household.start()
    channel = await visitor.dial(Contact(peer=ours.identity, addresses=ours.addresses))
    stream = await channel.open_stream()
    await stream.write(b"C")
    await asyncio.wait_for(channel.closed(), 60)
    await household.stop()


@pytest.mark.timeout(120)
async def test_a_thousand_babbling_strangers_fill_no_log(caplog):
    caplog.set_level(logging.WARNING)
    net = MemoryNet()
    ours = net.wire(secrets.token_bytes(32))
    post = Post([ours], MemoryStore(), lambda event: None)
    post.start()
    for _ in range(1000):
        stranger = net.wire(secrets.token_bytes(32))
        channel = await stranger.dial(Contact(peer=ours.identity, addresses=ours.addresses))
        await (await channel.open_stream()).write(b"C" + b"\xff" * 64)
        await asyncio.wait_for(channel.closed(), 60)
    await post.stop()
    assert 1 <= len(caplog.records) <= 40
