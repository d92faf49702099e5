"""Messages of membership: joining by invitation, coming back, being let in or turned away."""

from enum import StrEnum
from typing import Annotated

import msgspec

from propolis.terms.capability import CapabilityReport
from propolis.terms.credential import Credential, Moment, Signature
from propolis.terms.identity import Ticket

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
    credential: Credential | None = None  # of a node: the operator's word on it


class Rejoin(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="rejoin"):
    """First words of a member that comes back; its key is its proof."""

    role: Role
    report: CapabilityReport | None = None
    addresses: Addresses = ()
    credential: Credential | None = None  # of a node: the operator's word on it


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
    """An owner asks for a fresh invitation, good up to `until`. Only operators (the first owner) are answered with one."""

    role: Role
    request: Ticket
    until: Moment


class Invited(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="invited"):
    """A fresh single-use token; `token` is empty when refused."""

    request: Ticket
    token: Annotated[bytes, msgspec.Meta(max_length=64)]
    reason: Reason = ""


class Remove(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="remove"):
    """The operator removes members. Body: the list's exact bytes, which it signed (terms/credential.py)."""

    request: Ticket
    signature: Signature


class Removed(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="removed"):
    """The list is kept and acted on, or why not."""

    request: Ticket
    reason: Reason = ""


class ShowRemovals(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="show-removals"
):
    """To owners, when they enter and when it changes: the operator's newest list. Body: its exact bytes."""

    signature: Signature


class SetPolicy(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="set-policy"
):
    """The operator changes the fleet's appraisal policy. Body: the order's exact bytes, which it signed (terms/policy.py)."""

    request: Ticket
    signature: Signature


class PolicySet(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="policy-set"
):
    """The policy is kept and judged by, or why not."""

    request: Ticket
    reason: Reason = ""


class ShowPolicy(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="show-policy"
):
    """To owners, when they enter and when it changes: the operator's newest policy. Body: its exact bytes."""

    signature: Signature


MembershipMessage = (
    Join | Rejoin | Welcome | TurnedAway | AskInvite | Invited | Remove | Removed | ShowRemovals
    | SetPolicy | PolicySet | ShowPolicy
)  # fmt: skip
