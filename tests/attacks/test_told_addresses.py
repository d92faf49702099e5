"""Addresses a member tells of itself, or an orchestrator tells of others, send nobody where their teller is not."""

import contextlib
import secrets
import socket

import pytest
from hub import GUEST, HUB, KNOWN, OWNER, REPORT, SPEC

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.wire.iroh import IrohWire
from propolis.adapters.wire.websocket import WebSocketWire
from propolis.crypto.identity import public_of
from propolis.messages import jobs as say
from propolis.messages.membership import Join, Rejoin, Role
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.worker import Worker
from propolis.protocols.machine import Dial
from propolis.protocols.membership.registrar import Registrar
from propolis.runtime.post import Post
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable

EVIL, VICTIM = b"e" * 32, public_of(b"v" * 32)
TOLD = ("ws://10.0.0.5:80", "intranet:80", "127.0.0.1:22", "0.0.0.0:22", "169.254.169.254:80", "10.0.0.6:4711")


class Chance:
    def draw(self, size):
        return secrets.token_bytes(size)


@pytest.mark.parametrize(
    ("seen", "taken"),
    [
        ("203.0.113.9:5", ("10.0.0.6:4711",)),
        ("127.0.0.1:5", ("127.0.0.1:22", "10.0.0.6:4711")),
        ("", ("10.0.0.6:4711",)),
    ],
)
def test_the_orchestrator_passes_on_no_address_that_its_teller_could_not_have(seen, taken):
    registrar = Registrar(Chance())
    token, _ = registrar.invite(Role.NODE)
    first = registrar.join(EVIL, Join(role=Role.NODE, token=token, report=REPORT, addresses=TOLD), seen)
    again = registrar.rejoin(EVIL, Rejoin(role=Role.NODE, report=REPORT, addresses=TOLD), seen)
    assert first.entered.addresses == again.entered.addresses == taken


@pytest.mark.parametrize(
    ("way", "taken"), [("ws://hub.example.org:80", TOLD[-1:]), ("127.0.0.1:9", ("127.0.0.1:22", TOLD[-1]))]
)
def test_a_node_fetches_from_no_address_nearer_than_the_way_to_its_orchestrator(way, taken):
    orchestrator = Contact(peer=HUB, addresses=(way,))
    worker = Worker(orchestrator, REPORT, KNOWN)
    worker.handle(session.Connected(), 0.0)
    holders = (Contact(peer=EVIL, addresses=TOLD), Contact(peer=VICTIM, addresses=TOLD[:1]))
    order = say.OpenGuests(spec=SPEC, owner=OWNER, guests=(GUEST,), holders=holders)
    out = worker.handle(session.Said(HUB, order, ()), 1.0)
    (fetch,) = [action for action in out if isinstance(action, ev.FetchProgram)]
    assert fetch.holders == (orchestrator, Contact(peer=EVIL, addresses=taken))


class Victim:
    """Somebody's service, which counts who comes: TCP and UDP on one port."""

    def __enter__(self):
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.tcp.getsockname()[1]}"
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(self.tcp.getsockname())
        for each in (self.tcp, self.udp):
            each.setblocking(False)
        return self

    def __exit__(self, *_):
        self.tcp.close()
        self.udp.close()

    def met(self):
        """Whether anybody came."""
        for take in (self.tcp.accept, lambda: self.udp.recvfrom(2048)):
            with contextlib.suppress(BlockingIOError):
                take()
                return True
        return False


async def reached(wires, ours, told):
    """Ask the post of a member whose orchestrator is at `ours` for a peer at `told`; return why not."""
    post = Post(wires, MemoryStore(), lambda event: None)
    post.dial(Dial(Contact(peer=HUB, addresses=ours)))
    try:
        async with post.reach(Contact(peer=VICTIM, addresses=told)):
            return ""
    except PeerUnreachable as error:
        return str(error)
    finally:
        await post.stop()


@pytest.mark.parametrize("scheme", ["ws://", "wss://", "http://", ""])
async def test_a_member_of_a_websocket_fleet_asks_nobody_for_anything(scheme):
    with Victim() as victim:
        wire = await WebSocketWire.open(secrets.token_bytes(32))
        assert await reached([wire], ("ws://127.0.0.1:1",), (scheme + victim.address,))
        assert not victim.met()


async def test_loopback_told_from_elsewhere_is_not_dialled_and_told_from_loopback_is():
    for ours, met in (("203.0.113.9:1", False), ("127.0.0.1:1", True)):
        with Victim() as victim:
            wire = await IrohWire.bind(secrets.token_bytes(32))
            why = await reached([wire], (ours,), (victim.address,))
            assert ("may be dialled" in why) is not met
            assert victim.met() is met
