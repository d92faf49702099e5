"""An owner that withdraws its acceptance of a rehearsal gives no key to an emulated machine, whatever runs since before."""

import asyncio

import msgspec
import pytest

from propolis.owner.client import Client
from propolis.protocols.jobs.events import SealGrant
from propolis.runtime import config
from propolis.terms.errors import ReleaseDenied

WORK = SealGrant(1, b"j" * 16, b"g" * 16, b"k" * 32, b"n" * 32)


class Chest:
    def grant(self, owned, work):
        return b"sealed"


@pytest.fixture
def client(tmp_path):
    config.write(tmp_path / "fleet.json", config.FleetFile(fleet="00" * 32, addresses=("127.0.0.1:1",), rehearsal=True))
    made = Client(tmp_path)
    made._chest, made._owned = Chest(), {WORK.job: None}
    return made


def test_a_process_that_began_before_the_withdrawal_gives_no_key_to_an_emulated_machine(client, tmp_path):
    rehearsed = msgspec.structs.replace(WORK, emulated=True)
    assert asyncio.run(client._seal_grant(rehearsed)) == b"sealed"
    known = config.read(tmp_path / "fleet.json", config.FleetFile)
    config.write(tmp_path / "fleet.json", msgspec.structs.replace(known, rehearsal=False))
    with pytest.raises(ReleaseDenied):
        asyncio.run(client._seal_grant(rehearsed))
    assert asyncio.run(client._seal_grant(WORK)) == b"sealed"
