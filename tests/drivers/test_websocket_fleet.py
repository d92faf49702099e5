"""A fleet reached by WebSocket alone, as on platforms without an iroh wheel: the same job, the same seals."""

import msgspec

from propolis.runtime.invitation import from_text, to_text
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits


def web_only(text):
    invitation = from_text(text)
    addresses = tuple(address for address in invitation.addresses if address.startswith("ws://"))
    return to_text(msgspec.structs.replace(invitation, addresses=addresses))


def double(x):
    return x * 2


def test_a_private_map_over_websockets(tmp_path):
    local = LocalFleet(tmp_path, [])
    try:
        ready = local.start_orchestrator(invite_owner=True)
        Fleet.join(web_only(ready["owner_invitation"]), tmp_path)
        with Fleet(tmp_path) as fleet:
            for number in range(2):
                local.start_node(NodeLimits(name=f"w{number}"), web_only(fleet.invite("node")))
            assert {node.address for node in fleet.nodes()} == {""}, "nodes that dial out have no address"
            assert fleet.map(double, range(300), privacy="trusted-lenders") == [2 * n for n in range(300)]
            big = [bytes([n]) * 2_000_000 for n in range(6)]
            assert [len(x) for x in fleet.map(double, big, privacy="trusted-lenders")] == [4_000_000] * 6
    finally:
        local.stop()
