"""The operator's word on members: who was invited, and who is removed. The orchestrator can neither make nor move it."""

from typing import Annotated

import msgspec

Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Moment = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
"""Whole seconds since 1970, UTC."""

MAX_REMOVALS = 4096
MAX_LIST_BYTES = 512 * 1024


class Credential(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A chain of two signatures: operator -> invitation key -> member key (docs/specs/identity.md, step 5)."""

    invitation: Key  # Ed25519, its secret half travelled in the invitation, past the orchestrator
    until: Moment  # it may be taken up to then
    granted: Signature  # the operator's, over fleet, invitation key, until and role
    joined: Moment  # when the member took it, by its own clock
    taken: Signature  # the invitation key's, over the member's key and joined


class Removal(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One member that is none any more, and the invitation it came by: that one makes no other member either."""

    member: Key
    invitation: Annotated[bytes, msgspec.Meta(max_length=32)] = b""  # empty: not known


class Removals(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Everyone the operator removed from its fleet; a higher number replaces a lower one (docs/specs/identity.md, step 6)."""

    fleet: Key
    number: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    removed: Annotated[tuple[Removal, ...], msgspec.Meta(max_length=MAX_REMOVALS)]


class SignedRemovals(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The exact bytes of a list of removals, and the operator's signature over them."""

    data: Annotated[bytes, msgspec.Meta(max_length=MAX_LIST_BYTES)]
    signature: Signature
