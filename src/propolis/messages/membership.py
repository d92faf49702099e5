"""Messages of membership: joining by invitation, coming back, being let in or turned away."""

from enum import StrEnum
from typing import Annotated

import msgspec

from propolis.terms.capability import CapabilityReport

Id32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Addresses = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=200)], ...], msgspec.Meta(max_length=16)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]


class Role(StrEnum):
    """What an invitation lets its bearer be."""

    NODE = "node"
    OWNER = "owner"


class Join(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="join"):
    """First words of a newcomer: the single-use token of its invitation."""

    role: Role
    token: Annotated[bytes, msgspec.Meta(min_length=16, max_length=64)]
    report: CapabilityReport | None = None
    addresses: Addresses = ()


class Rejoin(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="rejoin"):
    """First words of a member that comes back; its key is its proof."""

    role: Role
    report: CapabilityReport | None = None
    addresses: Addresses = ()


class Welcome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="welcome"):
    """The newcomer is a member. `observed` is the address it was seen at (address echo)."""

    role: Role
    observed: Annotated[str, msgspec.Meta(max_length=200)] = ""


class TurnedAway(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="turned-away"
):
    """The newcomer is not let in; `code` is an error code of ours."""

    code: Annotated[str, msgspec.Meta(max_length=60)]
    reason: Reason


class AskInvite(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="ask-invite"
):
    """An owner asks for a fresh invitation. Only operators (the first owner) are answered with one."""

    role: Role
    request: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Invited(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="invited"):
    """A fresh single-use token; `token` is empty when refused."""

    request: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    token: Annotated[bytes, msgspec.Meta(max_length=64)]
    reason: Reason = ""


MembershipMessage = Join | Rejoin | Welcome | TurnedAway | AskInvite | Invited
