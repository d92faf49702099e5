"""How to reach a peer."""

from typing import Annotated

import msgspec

from propolis.terms.identity import Id32, NodeId


class Contact(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """How to reach a peer: its key and the addresses it was seen at ("127.0.0.1:4711", "ws://127.0.0.1:8080")."""

    peer: Id32
    addresses: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=200)], ...], msgspec.Meta(max_length=16)]

    @property
    def id(self) -> NodeId:
        """The key as a typed id."""
        return NodeId(self.peer)
