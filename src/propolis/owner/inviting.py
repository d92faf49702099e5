"""What the fleet's operator signs: invitations, and the list of whom it removed (docs/specs/identity.md, steps 5 and 6)."""

import secrets
from collections.abc import Iterable

from propolis.crypto import credential, identity
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.ports.keyhome import KeyHome
from propolis.protocols import removals
from propolis.runtime.invitation import Invitation, to_text
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential, Removal, Removals, SignedRemovals
from propolis.terms.identity import NodeId


def text(fleet: Contact, role: Role, token: bytes, until: int, keys: KeyHome) -> str:
    """Return an invitation's line around the orchestrator's token; `until` in seconds since 1970."""
    secret = secrets.token_bytes(identity.SEED_BYTES) if role is Role.NODE else b""
    invitation = Invitation(
        fleet=fleet.peer,
        addresses=fleet.addresses,
        token=token,
        role=role,
        until=until,
        operator=keys.identity,
        secret=secret,
        granted=credential.grant(keys.sign, fleet.id, role, secret, until) if secret else b"",
    )
    return to_text(invitation)


def removed(
    fleet: NodeId, kept: SignedRemovals | None, member: NodeId, shown: Iterable[Credential | None], keys: KeyHome
) -> SignedRemovals:
    """Return the list that names one member more than the one that is kept. Raises TooLarge.

    `shown`: credentials of the member, by the orchestrator, which may hide it, and in receipts it signed; only one that is
    the member's names its invitation too, or an orchestrator would choose who else goes.
    """
    known: Removals | None = codec.decode(kept.data, Removals) if kept is not None else None
    its = [
        Removal(member=member, invitation=one.invitation)
        for one in shown
        if one is not None and not credential.missing(one, member, operator=keys.identity, fleet=fleet, role=Role.NODE)
    ]
    return removals.sign(keys.sign, known, fleet, Removal(member=member), *its)
