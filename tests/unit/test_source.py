"""Where a member listens when nobody said: at the address that leads to its fleet, never at a wildcard."""

import pytest

from propolis.adapters.wire.source import leads_here, sources, told
from propolis.runtime.config import OrchestratorFile
from propolis.terms.errors import PeerUnreachable


def test_a_fleet_on_loopback_is_met_on_loopback():
    assert sources(["127.0.0.1:4433"]) == ("127.0.0.1:0",)


@pytest.mark.parametrize("fleet", [["no.such.name:1"], ["127.0.0.1:port"], ["0.0.0.256:1"], ["127.0.0.1:99999999"], []])
def test_no_way_is_told(fleet):
    with pytest.raises(PeerUnreachable, match="no way leads"):
        sources(fleet)


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1:1", True), ("[::1]:1", True), ("ws://127.0.0.2:1", True), ("ws://[::1]:1", True),
     ("192.168.1.7:1", False), ("[fd00::7]:1", False), ("ws://fleet.example:1", False)],
)  # fmt: skip
def test_loopback_is_known(address, here):
    assert leads_here(address) == here


def test_loopback_is_told_to_others_only_where_there_is_nothing_else():
    both = ["192.168.1.7:1", "[::1]:2", "ws://192.168.1.7:3"]
    assert told(both) == ("192.168.1.7:1", "ws://192.168.1.7:3")
    assert told(["127.0.0.1:1", "[::1]:2"]) == ("127.0.0.1:1", "[::1]:2")
    assert told([]) == ()


KNOWN = OrchestratorFile(listen=("192.168.1.7:4000", "[::1]:4001"), websocket="192.168.1.7:4002")


@pytest.mark.parametrize(
    ("asked", "listen", "websocket"),
    [
        ((), KNOWN.listen, KNOWN.websocket),
        (("192.168.1.7:0",), ("192.168.1.7:4000",), "192.168.1.7:4002"),
        (("192.168.1.7:5000",), ("192.168.1.7:5000",), "192.168.1.7:5000"),
        (("10.0.0.1:0", "[::1]:0"), ("10.0.0.1:0", "[::1]:4001"), "10.0.0.1:0"),
    ],
)
def test_any_port_is_the_port_of_the_last_time(asked, listen, websocket):
    assert KNOWN.asked(asked) == OrchestratorFile(listen=listen, websocket=websocket)


def test_no_websocket_stays_none():
    assert OrchestratorFile(websocket="").asked(["10.0.0.1:0"]).websocket == ""
