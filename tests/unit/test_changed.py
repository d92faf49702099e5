"""Waiting for news ends when it is cancelled, also when the news come in the same moment."""

import asyncio
import types

import pytest

from propolis.owner.client import Client
from propolis.owner.follower import Follower


@pytest.mark.parametrize("kind", [Client, Follower])
async def test_a_cancel_that_comes_with_the_news_is_not_lost(kind):
    changed = asyncio.Event()
    session = types.SimpleNamespace(_changed=changed, _failure=None)

    async def push():
        while True:
            await kind.changed(session, 60)

    task = asyncio.create_task(push())
    await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    changed.set()
    await asyncio.sleep(0)  # the waiter is done, whoever waits for it has not run yet
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=10)
    task.cancel()
    assert done
    assert task.cancelled()
