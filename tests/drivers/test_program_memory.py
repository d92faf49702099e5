"""A program goes from disk to its guest a piece at a time: the agent never holds it, however slowly the guest takes it."""

import asyncio
import os
import threading
import tracemalloc

import pytest

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.executor.pipes import GuestPipes
from propolis.adapters.executor.process import ProcessGuest
from propolis.messages import codec
from propolis.messages import guest as frames
from propolis.messages.blobs import CHUNK
from propolis.ports.executor import GuestOrder
from propolis.runtime.blob_service import BlobService
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import Crashed, StoreError
from propolis.terms.job import Kind, Needs

MIB = 1 << 20
PROGRAM = 48
ORDER = GuestOrder(job=b"j" * 16, guest=b"g" * 16, owner=b"o" * 32, kind=Kind.FUNCTION, needs=Needs(), slot=0)


class Taker:
    """The guest's side of the pipes in a thread: takes the program frame by frame and says that it is loaded."""

    def __init__(self, pipes, dies_after=None):
        self.into, self.out, self.errors = (os.dup(end) for end in pipes.theirs)
        pipes.given()
        self.taken, self.dies_after = 0, dies_after
        self.thread = threading.Thread(target=self.take)
        self.thread.start()

    def take(self):
        reader = frames.Frames()
        loaded = False
        while not loaded and (data := os.read(self.into, 65536)):
            for tag, payload in reader.feed(data):
                self.taken += len(payload)
                loaded = tag is frames.Tag.LOAD
            if self.dies_after is not None and self.taken >= self.dies_after:
                break
        if loaded:
            os.write(
                self.out,
                frames.frame(frames.Tag.LOADED, codec.encode(frames.Loaded(isolation=Isolation(rung=Rung.BARE)))),
            )
        for end in (self.into, self.out, self.errors):
            os.close(end)


@pytest.fixture
def service(tmp_path):
    blobs = FileBlobs(tmp_path, reserve=0)
    service = BlobService(blobs, None, lambda peer, blob: False)
    service.ref = blobs.put([bytes([n]) * MIB for n in range(PROGRAM)] + [b"tail"])
    return service


async def guest(dies_after=None):
    pipes = GuestPipes()

    async def end():
        pass

    there = ProcessGuest(pipes, 0, ORDER, end)
    there._isolation = Isolation(rung=Rung.BARE)
    return there, Taker(pipes, dies_after)


async def test_the_agent_holds_a_piece_of_the_program_at_a_time(service):
    here, taker = await guest()
    tracemalloc.start()
    try:
        await here.load(service.pieces(service.ref))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    taker.thread.join()
    assert taker.taken == PROGRAM * MIB + 4
    assert most < PROGRAM * MIB // 3, f"{most >> 20} MiB"
    await here.kill()


async def test_a_guest_that_dies_while_it_takes_its_program_is_noticed(service):
    here, taker = await guest(dies_after=3 * MIB)
    with pytest.raises(Crashed):
        await asyncio.wait_for(here.load(service.pieces(service.ref)), 30)
    taker.thread.join()


async def test_a_program_that_is_not_whole_is_not_loaded(service, tmp_path):
    pieces = service.pieces(service.ref)
    (tmp_path / bytes(service.ref.id).hex() / "7").write_bytes(bytes(CHUNK - 1))
    with pytest.raises(StoreError):
        [piece async for piece in pieces]
    (tmp_path / bytes(service.ref.id).hex() / "7").unlink()
    with pytest.raises(StoreError):
        service.pieces(service.ref)
