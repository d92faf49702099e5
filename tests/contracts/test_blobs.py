"""Every blob store passes the same suite; a fetch works from several holders, past liars and the dead, and resumes."""

import asyncio
import contextlib
import secrets
import tracemalloc

import pytest

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.blobs.memory import MemoryBlobs
from propolis.adapters.wire.memory import MemoryNet
from propolis.messages.blobs import CHUNK
from propolis.runtime import blob_service
from propolis.runtime.blob_service import BlobService
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, StoreFull, WireError
from propolis.testing import blobs as suite

DATA = secrets.token_bytes(12 * CHUNK + 77)


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize("case", suite.SUITE, ids=lambda case: case.__name__)
def test_blobs(case, kind, tmp_path):
    case((lambda: MemoryBlobs()) if kind == "memory" else (lambda: FileBlobs(tmp_path)))


def test_a_full_disk_refuses_the_chunk(tmp_path):
    with pytest.raises(StoreFull, match="would be left"):
        FileBlobs(tmp_path, reserve=1 << 60).put([b"x"])


def test_a_large_blob_is_put_a_chunk_at_a_time_and_leaves_nothing_beside(tmp_path):
    blobs = FileBlobs(tmp_path, reserve=0)
    tracemalloc.start()
    try:
        ref = blobs.put(bytes([n]) * (CHUNK + 17) for n in range(32))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ref == MemoryBlobs().put(bytes([n]) * (CHUNK + 17) for n in range(32))
    assert most < 12 * CHUNK, f"{most >> 20} MiB"
    assert [path.name for path in tmp_path.iterdir()] == [bytes(ref.id).hex()]
    assert blobs.chunks(ref.id) == set(range(33))


def test_a_put_that_fails_leaves_nothing(tmp_path):
    def parts():
        yield bytes(3 * CHUNK)
        raise StoreFull("no more")

    with pytest.raises(StoreFull):
        FileBlobs(tmp_path, reserve=0).put(parts())
    (tmp_path / ".put.0.0").mkdir()  # an earlier process's
    FileBlobs(tmp_path, reserve=0)
    assert list(tmp_path.iterdir()) == []


class Holder:
    """A peer that serves blobs over an in-memory wire, and may lie or die."""

    def __init__(self, net, *, lies=False, dies_after=None, allowed=True):
        self.wire = net.wire(secrets.token_bytes(32))
        self.blobs = MemoryBlobs()
        self.service = BlobService(self.blobs, None, lambda peer, blob: allowed)
        self.served, self.lies, self.dies_after = 0, lies, dies_after
        read = self.blobs.read

        def tampered(blob, number):
            self.served += 1
            if dies_after is not None and self.served > dies_after:
                raise PeerUnreachable("dead")
            data = read(blob, number)
            return data[:-1] + b"!" if lies else data

        self.blobs.read = tampered
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            channel = await self.wire.accept()
            stream = await channel.accept_stream()
            assert await stream.read(1) == b"B"
            try:
                await self.service.serve(channel.peer, stream)
            except WireError:
                await channel.close()

    @property
    def contact(self):
        return Contact(peer=self.wire.identity, addresses=self.wire.addresses)


def dialled(wire):
    """Reach holders by dialling each time."""

    @contextlib.asynccontextmanager
    async def reach(contact):
        channel = await wire.dial(contact)
        yield channel
        await channel.close()

    return reach


async def fetch(net, holders, blobs=None):
    """Fetch DATA from holders; return the fetcher's blobs and whether it came whole."""
    wire = net.wire(secrets.token_bytes(32))
    blobs = blobs or MemoryBlobs()
    refs = [holder.blobs.put([DATA]) for holder in holders]
    service = BlobService(blobs, dialled(wire), lambda peer, blob: False)
    try:
        await asyncio.wait_for(service.fetch(refs[0], [holder.contact for holder in holders]), 20)
        assert b"".join([piece async for piece in service.pieces(refs[0])]) == DATA
    finally:
        for holder in holders:
            holder.task.cancel()
    return blobs


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancel_that_comes_together_with_an_answer_is_a_cancel(ticks):
    """Whose answer is late by a moment ends with the fetch; before, it went on for ever, and the fetch waited for it."""
    answer = asyncio.get_running_loop().create_future()

    class Stream:
        async def read(self, size):
            return await answer

    asking = asyncio.create_task(blob_service._exactly(Stream(), 4, 30.0))
    await asyncio.sleep(0.01)
    answer.set_result(b"four")
    for _ in range(ticks):
        await asyncio.sleep(0)
    in_time = asking.done()
    asking.cancel()
    done, _ = await asyncio.wait({asking}, timeout=5)
    assert done
    assert in_time or asking.cancelled()


async def test_two_holders_share_the_work():
    net = MemoryNet()
    one, other = Holder(net), Holder(net)
    await fetch(net, [one, other])
    assert one.served
    assert other.served


async def test_a_liar_is_dropped_and_the_file_is_right():
    net = MemoryNet()
    await fetch(net, [Holder(net, lies=True), Holder(net)])


async def test_a_holder_that_dies_is_replaced():
    net = MemoryNet()
    await fetch(net, [Holder(net, dies_after=4), Holder(net)])


async def test_an_interrupted_fetch_goes_on_where_it_stopped():
    net, blobs = MemoryNet(), MemoryBlobs()
    with pytest.raises(PeerUnreachable):
        await fetch(net, [Holder(net, dies_after=5)], blobs)
    second = Holder(net)
    await fetch(net, [second], blobs)
    assert second.served == 13 - 5


async def test_who_may_not_read_gets_nothing():
    net = MemoryNet()
    with pytest.raises(PeerUnreachable, match="no such blob"):
        await fetch(net, [Holder(net, allowed=False)])


def test_blobs_in_files_are_their_users_alone(tmp_path):
    blobs = FileBlobs(tmp_path / "blobs", reserve=0)
    blobs.put([b"sealed" * 1000])
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 2
    assert [path for path in left if path.stat().st_mode & 0o077] == []
