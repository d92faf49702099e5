"""What a verifier concluded about one machine (RFC 9334: attestation results), as far as admission needs it.

Unrelated to a capability report, so that what a machine says can never stand in for what it proved. Nothing verifies
evidence in this release: every `Proven` is NOTHING.
"""

from typing import Annotated

import msgspec

from propolis.terms.requirement import Claim, Day


class Attested(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One attestation result's claims: which technology, what is proven, and the last day it holds."""

    technology: Claim
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=64)]
    until: Day


Proven = tuple[Attested, ...]
"""All that is proven of one machine."""

NOTHING: Proven = ()
