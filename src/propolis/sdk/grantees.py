"""Who got a job's key: read from the receipts the owner kept before each key left. What a node claims is its own word."""

from collections.abc import Iterable

import msgspec
from blake3 import blake3

from propolis.messages import codec
from propolis.terms.capability import Isolation, Offer
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import NodeId
from propolis.terms.job import Granted, Receipt


class Grantee(msgspec.Struct, frozen=True, kw_only=True):
    """One guest that got a job's key. Times are whole seconds since 1970."""

    guest: bytes
    node: bytes
    at: int  # when it got the key, by this owner's clock
    isolation: Isolation  # what its node signed that it runs under
    offer: Offer  # and on which terms
    invited_by: bytes  # the operator whose word on the node was checked
    invitation: bytes  # the key of the invitation the node came by
    joined: int  # when it took that, by the node's clock
    receipt: bytes  # BLAKE3 of the bytes the node signed
    proven: Proven = NOTHING  # what its machine proved to this owner itself before it gave the key


def grantees(kept: Iterable[Granted], operator: NodeId) -> tuple[Grantee, ...]:
    """Return the guests that got a key, in the order they got it. Raises MalformedMessage for a damaged home."""
    return tuple(_grantee(granted, operator) for granted in kept)


def _grantee(granted: Granted, operator: NodeId) -> Grantee:
    receipt: Receipt = codec.decode(granted.receipt, Receipt)
    shown = receipt.credential
    return Grantee(
        guest=receipt.guest,
        node=receipt.node,
        at=granted.at,
        isolation=receipt.isolation,
        offer=receipt.offer,
        invited_by=operator if shown is not None else b"",
        invitation=shown.invitation if shown is not None else b"",
        joined=shown.joined if shown is not None else 0,
        receipt=blake3(granted.receipt).digest(),
        proven=granted.proven,
    )
