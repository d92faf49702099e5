"""Removals: the operator signs one numbered list of everyone it removed; whoever kept a list takes only a newer one.

docs/specs/identity.md, step 6. The orchestrator passes the list on and may hide it; it cannot make, shorten or roll back one.
"""

from propolis.crypto import identity
from propolis.crypto.credential import Sign
from propolis.messages import codec
from propolis.terms.credential import MAX_REMOVALS, Credential, Removal, Removals, SignedRemovals
from propolis.terms.errors import SealBroken, TooLarge
from propolis.terms.identity import NodeId

REMOVALS = b"propolis/removals/1"
TABLE = "removals"  # the newest list, in one row
ROW = b"list"


def sign(sign_with: Sign, known: Removals | None, fleet: NodeId, *fresh: Removal) -> SignedRemovals:
    """Return the next list: everyone on the known one, and a member with each invitation it came by. Raises TooLarge.

    An invitation that is on the list stays there: a member removed again, now that nobody shows how it came, frees none.
    """
    rows = dict.fromkeys((*(known.removed if known is not None else ()), *fresh))
    named = {row.member for row in rows if row.invitation}
    removed = tuple(row for row in rows if row.invitation or row.member not in named)
    if len(removed) > MAX_REMOVALS:
        raise TooLarge(f"a fleet removes at most {MAX_REMOVALS} members; begin a new one")
    data = codec.encode(Removals(fleet=fleet, number=known.number + 1 if known is not None else 1, removed=removed))
    return SignedRemovals(data=data, signature=sign_with(REMOVALS, data))


def opened(signed: SignedRemovals, operator: NodeId, fleet: NodeId | None = None) -> Removals:
    """Return the list if the operator signed it, for this fleet where one is given. Raises SealBroken, MalformedMessage."""
    identity.verify(operator, REMOVALS, signed.data, signed.signature)
    found: Removals = codec.decode(signed.data, Removals)
    if fleet is not None and found.fleet != fleet:
        raise SealBroken("a list of removals of another fleet")
    return found


def removed(known: Removals | None, member: NodeId, credential: Credential | None) -> bool:
    """Return whether the list names this member, or the invitation it came by."""
    if known is None:
        return False
    came_by = credential.invitation if credential is not None else None
    return any(item.member == member or (item.invitation and item.invitation == came_by) for item in known.removed)
