"""The orchestrator's side of membership: who is a member, which invitations are open, who is turned away.

docs/specs/membership.md numbers the rules. Nothing else of a stranger is listened to before it was let in; a stranger
that says nothing useful in time is hung up on. Tokens are kept only as BLAKE2 hashes and are used once.
"""

import hashlib

import msgspec

from propolis.messages import codec
from propolis.messages.membership import Join, Rejoin, Role, TurnedAway, Welcome
from propolis.ports.store import Drop, Put, Write
from propolis.ports.world import Entropy
from propolis.terms.address import dialable
from propolis.terms.capability import CapabilityReport
from propolis.terms.errors import InvitationRefused
from propolis.terms.identity import NodeId
from propolis.terms.time import NEVER, Instant

MEMBERS = "members"
INVITES = "invites"
TOKEN_BYTES = 16
MAX_OPEN_INVITES = 10_000
STRANGER_SECONDS = 3.0
MAX_STRANGERS = 1024


class Membership(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept of a member."""

    role: Role
    operator: bool = False


class Invite(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What is kept of an open invitation."""

    role: Role
    operator: bool = False


class Entered(msgspec.Struct, frozen=True):
    """A member is in and may be talked to."""

    peer: NodeId
    role: Role
    report: CapabilityReport | None
    addresses: tuple[str, ...]


class Greeting(msgspec.Struct, frozen=True):
    """The registrar's answer to first words: what to say, what to write, who entered (None: turned away)."""

    answer: Welcome | TurnedAway
    writes: tuple[Write, ...] = ()
    entered: Entered | None = None


def token_key(token: bytes) -> bytes:
    """Return the key under which a token's invitation is kept; the token itself is never stored."""
    return hashlib.blake2b(token, digest_size=32, person=b"propolis-invite").digest()


class Registrar:
    """Members and invitations. `restore` it from the store's rows before use."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._members: dict[NodeId, Membership] = {}
        self._invites: dict[bytes, Invite] = {}
        self._strangers: dict[NodeId, Instant] = {}
        self._gone: dict[NodeId, Instant] = {}  # strangers that left in time; coming back does not renew it

    def restore(self, table: str, key: bytes, value: bytes) -> None:
        """Take one stored row."""
        if table == MEMBERS:
            self._members[NodeId(key)] = codec.decode(value, Membership)
        elif table == INVITES:
            self._invites[key] = codec.decode(value, Invite)

    def invite(self, role: Role, *, operator: bool = False) -> tuple[bytes, tuple[Write, ...]]:
        """Return a fresh token and what to write; ((b"", ()) when too many invitations are open."""
        if len(self._invites) >= MAX_OPEN_INVITES:
            return b"", ()
        token = self._entropy.draw(TOKEN_BYTES)
        invite = Invite(role=role, operator=operator)
        self._invites[token_key(token)] = invite
        return token, (Put(INVITES, token_key(token), codec.encode(invite)),)

    def is_member(self, peer: NodeId) -> bool:
        """Return whether the key belongs to a member."""
        return peer in self._members

    def is_operator(self, peer: NodeId) -> bool:
        """Return whether the member may invite others."""
        member = self._members.get(peer)
        return member is not None and member.operator

    # -- strangers

    def stranger(self, peer: NodeId, now: Instant) -> bool:
        """Note a channel that has not said who it is. Returns False when there are too many: hang up."""
        if peer not in self._strangers and len(self._strangers) >= MAX_STRANGERS and peer not in self._members:
            return False
        until = min(self._strangers.get(peer, NEVER), self._gone.pop(peer, NEVER))
        self._strangers[peer] = until if now < until < NEVER else Instant(now + STRANGER_SECONDS)
        return True

    def departed(self, peer: NodeId) -> None:
        """The channel or session is over."""
        until = self._strangers.pop(peer, None)
        if until is not None:
            self._gone[peer] = until
        if len(self._gone) > MAX_STRANGERS:
            del self._gone[next(iter(self._gone))]

    def overdue(self, now: Instant) -> list[NodeId]:
        """Return and drop strangers that said nothing in time, counted from when they were first met."""
        self._gone = {peer: until for peer, until in self._gone.items() if until > now}
        late = [peer for peer, until in self._strangers.items() if until <= now]
        for peer in late:
            del self._strangers[peer]
        return late

    def deadline(self) -> Instant | None:
        """Return when the next stranger is overdue."""
        return min((*self._strangers.values(), *self._gone.values()), default=None)

    # -- first words

    def join(self, peer: NodeId, words: Join, observed: str) -> Greeting:
        """Take a newcomer's token (rule 2). The same member asking twice is welcomed twice; the token is spent once."""
        member = self._members.get(peer)
        if member is not None and member.role == words.role:
            return self._welcome(peer, member, words, observed, ())
        invite = self._invites.get(token_key(words.token))
        if invite is None or invite.role != words.role or member is not None:
            why = "this invitation is unknown, was used already, or is for another role"
            return Greeting(TurnedAway(code=InvitationRefused.code, reason=why))
        del self._invites[token_key(words.token)]
        member = Membership(role=invite.role, operator=invite.operator)
        self._members[peer] = member
        writes = (Drop(INVITES, token_key(words.token)), Put(MEMBERS, peer, codec.encode(member)))
        return self._welcome(peer, member, words, observed, writes)

    def rejoin(self, peer: NodeId, words: Rejoin, observed: str) -> Greeting:
        """Take a member that comes back (rule 3): its key is its proof."""
        member = self._members.get(peer)
        if member is None or member.role != words.role:
            why = "this key is not a member of the fleet; join with an invitation"
            return Greeting(TurnedAway(code=InvitationRefused.code, reason=why))
        return self._welcome(peer, member, words, observed, ())

    def _welcome(
        self, peer: NodeId, member: Membership, words: Join | Rejoin, observed: str, writes: tuple[Write, ...]
    ) -> Greeting:
        self._strangers.pop(peer, None)
        self._gone.pop(peer, None)
        told = dialable(words.addresses, (observed,))  # rule 7: others will be sent there
        entered = Entered(peer, member.role, words.report, told)
        return Greeting(Welcome(role=member.role, observed=observed), writes, entered)

    def check(self) -> None:
        """Assert the bounds."""
        assert len(self._invites) <= MAX_OPEN_INVITES
        assert len(self._strangers) <= MAX_STRANGERS + len(self._members)
        assert len(self._gone) <= MAX_STRANGERS
