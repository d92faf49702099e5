"""A fleet's appraisal policy as its operator signs it: the text, and what keeps an old one from coming back."""

from typing import Annotated

import msgspec

from propolis.terms.credential import Key, Signature

MAX_POLICY_BYTES = 300 * 1024


class PolicyOrder(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One policy of one fleet; a higher number replaces a lower one. `text` is TOML (decisions/appraisal/policy.py)."""

    fleet: Key
    number: Annotated[int, msgspec.Meta(ge=1, le=2**40)]
    text: Annotated[bytes, msgspec.Meta(max_length=256 * 1024)]


class SignedPolicy(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The exact bytes of an order, and the operator's signature over them."""

    data: Annotated[bytes, msgspec.Meta(max_length=MAX_POLICY_BYTES)]
    signature: Signature
