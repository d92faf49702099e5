"""What a verifier concluded about one machine (RFC 9334: attestation results), as far as admission needs it.

Unrelated to a capability report, so that what a machine says can never stand in for what it proved.
"""

from typing import Annotated

import msgspec

from propolis.terms.requirement import Claim, Day


class Attested(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One attestation result's claims: which technology, what is proven, and the last day it holds.

    `emulated`: concluded of an emulated TPM under a rehearsal's policy; whoever shows it says so.
    """

    technology: Claim
    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=64)]
    until: Day
    emulated: bool = False


Proven = tuple[Attested, ...]
"""All that is proven of one machine."""

NOTHING: Proven = ()
"""Attestation results of a machine that has none."""


def emulated(proven: Proven) -> bool:
    """Return whether anything in it rests on an emulated TPM."""
    return any(each.emulated for each in proven)
