"""Visitors at a node's door stay as long as their chunks move, and no longer."""

import asyncio
import functools
import secrets

import pytest

from propolis.adapters.blobs.memory import MemoryBlobs
from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.wire.memory import MemoryNet
from propolis.messages import codec
from propolis.messages.blobs import CHUNK, ChunkWanted
from propolis.runtime.blob_service import BlobService
from propolis.runtime.pace import LEAST_BYTES, MOST_BYTES, WINDOW_SECONDS, Pace
from propolis.runtime.post import Post
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable


def test_a_slow_visit_goes_on_for_hours():
    pace, now, moved = Pace(0.0), 0.0, 0
    for _ in range(600):
        assert now < pace.ends
        now, moved = now + WINDOW_SECONDS, moved + LEAST_BYTES
        assert not pace.over(now, moved)


@pytest.mark.parametrize("trickle", [0, LEAST_BYTES - 1])
def test_a_visit_that_stands_still_or_trickles_is_over_after_a_window(trickle):
    pace = Pace(0.0)
    assert not pace.over(WINDOW_SECONDS - 0.1, trickle)
    assert not pace.over(WINDOW_SECONDS, LEAST_BYTES)
    assert pace.over(2 * WINDOW_SECONDS, LEAST_BYTES + trickle)


def test_many_small_looks_do_not_move_the_window():
    pace = Pace(0.0)
    assert [pace.over(float(second), second * 100) for second in range(1, 61)] == [False] * 59 + [True]


def test_no_visit_takes_more_than_a_visit_may():
    assert Pace(0.0).over(1.0, MOST_BYTES + 1)


class Served:
    """A node's post on a stand-in wire with one blob for everybody, and a visitor's way to it."""

    def __init__(self, window):
        net, blobs = MemoryNet(), MemoryBlobs()
        self.wire = net.wire(secrets.token_bytes(32))
        self.ref = blobs.put([bytes(2 * CHUNK)])
        service = BlobService(blobs, None, lambda peer, blob: True)
        self.post = Post([self.wire], MemoryStore(), lambda event: None)
        self.post.serve_blobs(service.serve, visitors=True)
        self.post._door._pace = functools.partial(Pace, window=window, least=CHUNK)
        self.post.start()
        self.visitor = net.wire(secrets.token_bytes(32))
        self.contact = Contact(peer=self.wire.identity, addresses=self.wire.addresses)

    async def chunk(self, stream):
        word = codec.encode(ChunkWanted(blob=self.ref.blob, number=0))
        await stream.write(len(word).to_bytes(4, "big") + word)
        left = 4 + CHUNK
        while left:
            left -= len(await stream.read(left))


@pytest.mark.timeout(120)
async def test_a_visit_longer_than_any_window_is_not_cut_while_chunks_move():
    served = Served(window=3.0)
    channel = await served.visitor.dial(served.contact)
    stream = await channel.open_stream()
    await stream.write(b"B")
    for _ in range(32):
        await served.chunk(stream)
        await asyncio.sleep(0.25)
    await served.post.stop()


@pytest.mark.timeout(120)
async def test_a_visit_that_stands_still_is_cut_however_many_streams_it_opens():
    served = Served(window=1.0)
    channel = await served.visitor.dial(served.contact)

    async def knock():
        while True:
            await (await channel.open_stream()).write(b"B")
            await asyncio.sleep(0.2)

    knocking = asyncio.create_task(knock())
    await asyncio.wait_for(channel.closed(), 60)
    with pytest.raises(PeerUnreachable):
        await asyncio.wait_for(knocking, 60)
    await served.post.stop()
