"""A member's credential: the operator's word that this key was invited, which the orchestrator can neither make nor move."""

from typing import Annotated

import msgspec

Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Credential(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A chain of two signatures: operator -> invitation key -> member key (docs/specs/identity.md, step 5)."""

    invitation: Key  # Ed25519, its secret half travelled in the invitation, past the orchestrator
    granted: Signature  # the operator's, over fleet, role and invitation key
    taken: Signature  # the invitation key's, over the member's key
