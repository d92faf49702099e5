"""The orchestrator's side of membership: who is a member, which invitations are open, who is turned away.

docs/specs/membership.md numbers the rules. Nothing else of a stranger is listened to before it was let in; a stranger
that says nothing useful in time is hung up on. Tokens are kept only as BLAKE2 hashes and are used once.
"""

import hashlib

import msgspec

from propolis.messages import codec
from propolis.messages.membership import Join, Rejoin, Role, TurnedAway, Welcome
from propolis.ports.entropy import Entropy
from propolis.ports.store import Drop, Put, Rows, Write
from propolis.protocols import removals
from propolis.terms.address import dialable
from propolis.terms.capability import CapabilityReport
from propolis.terms.credential import Credential, Removals, SignedRemovals
from propolis.terms.errors import InvitationRefused, MalformedMessage, MemberRemoved, SealBroken, StoreFull
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
    """What is kept of an open invitation; `until` in seconds since 1970, 0 = it has no end."""

    role: Role
    operator: bool = False
    until: int = 0


class Entered(msgspec.Struct, frozen=True):
    """A member is in and may be talked to."""

    peer: NodeId
    role: Role
    report: CapabilityReport | None
    addresses: tuple[str, ...]
    credential: Credential | None = None


class Greeting(msgspec.Struct, frozen=True):
    """The registrar's answer to first words: what to say, what to write, who entered (None: turned away)."""

    answer: Welcome | TurnedAway
    writes: tuple[Write, ...] = ()
    entered: Entered | None = None


class Expulsion(msgspec.Struct, frozen=True):
    """The registrar's answer to a list of removals: why it is refused, or what to write and who is no member any more."""

    reason: str = ""
    writes: tuple[Write, ...] = ()
    gone: tuple[NodeId, ...] = ()


def token_key(token: bytes) -> bytes:
    """Return the key under which a token's invitation is kept; the token itself is never stored."""
    return hashlib.blake2b(token, digest_size=32, person=b"propolis-invite").digest()


class Registrar:
    """Members and invitations. `restore` it from the store's rows before use."""

    def __init__(self, entropy: Entropy, epoch: float = 0.0) -> None:
        """`epoch`: seconds since 1970 at instant 0, as invitations end by the calendar."""
        self._entropy = entropy
        self._epoch = epoch
        self._removals: Removals | None = None
        self.removals: SignedRemovals | None = None  # as the operator signed them
        self.full = False  # the disk takes no new member and no new invitation
        self._members: dict[NodeId, Membership] = {}
        self._invites: dict[bytes, Invite] = {}
        self._strangers: dict[NodeId, Instant] = {}
        self._gone: dict[NodeId, Instant] = {}  # strangers that left in time; coming back does not renew it

    def restore(self, rows: Rows) -> None:
        """Take what is stored. Raises MalformedMessage."""
        for key, value in rows.scan(MEMBERS):
            self._members[NodeId(key)] = codec.decode(value, Membership)
        for key, value in rows.scan(INVITES):
            self._invites[key] = codec.decode(value, Invite)
        for _, value in rows.scan(removals.TABLE):
            self.removals = codec.decode(value, SignedRemovals)
            self._removals = codec.decode(self.removals.data, Removals)

    def invite(
        self, role: Role, *, operator: bool = False, until: int = 0, now: Instant = NEVER
    ) -> tuple[bytes, tuple[Write, ...]]:
        """Return a fresh token and what to write; (b"", ()) when too many invitations are open or the disk is full."""
        if self.full:
            return b"", ()
        late = tuple(key for key, invite in self._invites.items() if self._expired(invite, now))
        for key in late:
            del self._invites[key]
        drops = tuple(Drop(INVITES, key) for key in late)
        if len(self._invites) >= MAX_OPEN_INVITES:
            return b"", drops
        token = self._entropy.draw(TOKEN_BYTES)
        invite = Invite(role=role, operator=operator, until=until)
        self._invites[token_key(token)] = invite
        return token, (*drops, Put(INVITES, token_key(token), codec.encode(invite)))

    def _expired(self, invite: Invite, now: Instant) -> bool:
        return 0 < invite.until < self._epoch + now < NEVER

    def is_member(self, peer: NodeId) -> bool:
        """Return whether the key belongs to a member."""
        return peer in self._members

    def is_operator(self, peer: NodeId) -> bool:
        """Return whether the member may invite others."""
        member = self._members.get(peer)
        return member is not None and member.operator

    # -- removals (rule 7)

    def remove(self, peer: NodeId, signed: SignedRemovals) -> Expulsion:
        """Keep the operator's newer list; whom it names is no member any more and will not be one again."""
        if not self.is_operator(peer):
            return Expulsion("only the fleet's operator removes members")
        try:
            found = removals.opened(signed, peer)
        except (SealBroken, MalformedMessage) as error:
            return Expulsion(f"this is no list of the operator's: {error}"[:500])
        if self._removals is not None and found.number <= self._removals.number:
            return Expulsion("a newer list of removals is here already")
        named = {NodeId(item.member) for item in found.removed}
        if peer in named:
            return Expulsion("an operator does not remove itself")
        gone = tuple(sorted(named & self._members.keys()))
        for member in gone:
            del self._members[member]
        self._removals, self.removals = found, signed
        drops = tuple(Drop(MEMBERS, member) for member in gone)
        return Expulsion("", (*drops, Put(removals.TABLE, removals.ROW, codec.encode(signed))), gone)

    def _turned_away(self, peer: NodeId, words: Join | Rejoin) -> Greeting | None:
        if not removals.removed(self._removals, peer, words.credential):
            return None
        why = "the fleet's operator removed this member"
        return Greeting(TurnedAway(code=MemberRemoved.code, reason=why))

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

    def join(self, peer: NodeId, words: Join, observed: str, now: Instant = NEVER) -> Greeting:
        """Take a newcomer's token (rule 2). The same member asking twice is welcomed twice; the token is spent once."""
        removed = self._turned_away(peer, words)
        if removed is not None:
            return removed
        member = self._members.get(peer)
        if member is not None and member.role == words.role:
            return self._welcome(peer, member, words, observed, ())
        invite = self._invites.get(token_key(words.token))
        if invite is None or invite.role != words.role or member is not None:
            why = "this invitation is unknown, was used already, or is for another role"
            return Greeting(TurnedAway(code=InvitationRefused.code, reason=why))
        if self._expired(invite, now):
            return Greeting(TurnedAway(code=InvitationRefused.code, reason="this invitation has expired"))
        if self.full:
            why = "the orchestrator's disk is full: try again later, this invitation is not spent"
            return Greeting(TurnedAway(code=StoreFull.code, reason=why))
        del self._invites[token_key(words.token)]
        member = Membership(role=invite.role, operator=invite.operator)
        self._members[peer] = member
        writes = (Drop(INVITES, token_key(words.token)), Put(MEMBERS, peer, codec.encode(member)))
        return self._welcome(peer, member, words, observed, writes)

    def rejoin(self, peer: NodeId, words: Rejoin, observed: str) -> Greeting:
        """Take a member that comes back (rule 3): its key is its proof."""
        removed = self._turned_away(peer, words)
        if removed is not None:
            return removed
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
        told = dialable(words.addresses, (observed,))  # rule 8: others will be sent there
        entered = Entered(peer, member.role, words.report, told, words.credential)
        return Greeting(Welcome(role=member.role, observed=observed), writes, entered)

    def check(self) -> None:
        """Assert the bounds."""
        assert len(self._invites) <= MAX_OPEN_INVITES
        assert len(self._strangers) <= MAX_STRANGERS + len(self._members)
        assert len(self._gone) <= MAX_STRANGERS
