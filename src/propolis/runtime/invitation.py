"""An invitation as one line of text: where the fleet is, its key, a single-use token, for what role, and who invites.

The orchestrator issues the token and never sees `secret`: what a node proves with it is the operator's word alone
(docs/specs/identity.md, step 5).
"""

import base64
import binascii
from typing import Annotated

import msgspec
from blake3 import blake3

from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.terms.contact import Contact
from propolis.terms.credential import Moment
from propolis.terms.errors import InvitationRefused, MalformedMessage
from propolis.terms.identity import Id32

PREFIX = "propolis1-"


class Invitation(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """Who hands this over gives one membership away, once."""

    fleet: Id32
    addresses: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=200)], ...], msgspec.Meta(min_length=1, max_length=16)
    ]
    token: Annotated[bytes, msgspec.Meta(min_length=16, max_length=64)]
    role: Role
    until: Moment = 0  # seconds since 1970, inside what the operator signed; 0: the first operator's, which has no end
    operator: Annotated[bytes, msgspec.Meta(max_length=32)] = b""  # empty: the bearer becomes the operator
    secret: Annotated[bytes, msgspec.Meta(max_length=32)] = b""  # nodes: the invitation key's seed
    granted: Annotated[bytes, msgspec.Meta(max_length=64)] = b""  # the operator's signature over its public half

    @property
    def orchestrator(self) -> Contact:
        """Whom to dial."""
        return Contact(peer=self.fleet, addresses=self.addresses)


def to_text(invitation: Invitation) -> str:
    """Return the line to hand over."""
    data = codec.encode(invitation)
    return PREFIX + base64.b32encode(data + blake3(data).digest()[:4]).decode().rstrip("=").lower()


def from_text(text: str) -> Invitation:
    """Read a line. Raises InvitationRefused when it is cut, mistyped or not an invitation."""
    word = text.strip()
    if not word.startswith(PREFIX):
        raise InvitationRefused(f"an invitation begins with {PREFIX}")
    body = word.removeprefix(PREFIX).upper()
    try:
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError) as error:
        raise InvitationRefused("this invitation has characters that do not belong there") from error
    data, check = raw[:-4], raw[-4:]
    if blake3(data).digest()[:4] != check:
        raise InvitationRefused("this invitation is cut or mistyped; copy the whole line")
    try:
        invitation: Invitation = codec.decode(data, Invitation)
    except MalformedMessage as error:
        raise InvitationRefused("this is an invitation of another release") from error
    return invitation
