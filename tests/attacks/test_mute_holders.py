"""A holder that lets itself be reached and then takes not one byte: a fetch from it ends, as from one that is lost."""

import asyncio
import contextlib

import pytest

from propolis.adapters.blobs.memory import MemoryBlobs
from propolis.runtime import blob_service
from propolis.runtime.blob_service import BlobService
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable
from propolis.terms.job import BlobRef


class Mute:
    """A channel and its stream: opened at once, and nothing is ever read at the other end."""

    async def open_stream(self):
        return self

    async def write(self, data):
        await asyncio.Event().wait()

    async def read(self, size):
        await asyncio.Event().wait()

    async def reset(self):
        return


@pytest.mark.timeout(60)
async def test_a_holder_that_takes_not_a_byte_is_lost_and_the_fetch_ends(monkeypatch):
    monkeypatch.setattr(blob_service, "IDLE_SECONDS", 0.2)

    @contextlib.asynccontextmanager
    async def reach(contact):
        yield Mute()

    service = BlobService(MemoryBlobs(), reach, lambda peer, blob: False)
    with pytest.raises(PeerUnreachable, match="no holder is left"):
        await asyncio.wait_for(
            service.fetch(BlobRef(blob=bytes(32), size=1), [Contact(peer=bytes(32), addresses=())]), 40
        )
