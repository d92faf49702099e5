"""Credentials: an operator invites a key it does not know yet, and anyone can check later that it did.

docs/specs/identity.md, step 5. The operator draws an Ed25519 key for one invitation, signs its public half, and hands the
secret half to the lender inside the invitation. The lender signs its node's key with it. The orchestrator sees neither
secret, so it cannot enrol machines of its own that an owner would take for invited ones.
"""

from collections.abc import Callable

from propolis.crypto import identity
from propolis.terms.credential import Credential
from propolis.terms.errors import SealBroken
from propolis.terms.identity import NodeId

INVITATION = b"propolis/invitation/2"
MEMBER = b"propolis/member/2"
MOMENT_BYTES = 8

Sign = Callable[[bytes, bytes], bytes]
"""Sign data for a purpose: `KeyHome.sign`."""


def _promise(fleet: NodeId, role: str, invitation: bytes, until: int) -> bytes:
    return bytes(fleet) + bytes(invitation) + until.to_bytes(MOMENT_BYTES, "big") + role.encode("ascii")


def grant(sign: Sign, fleet: NodeId, role: str, secret: bytes, until: int) -> bytes:
    """Return the operator's signature that makes the 32-byte `secret` an invitation of this fleet for this role.

    `until`: whole seconds since 1970; who takes it later is no member.
    """
    return sign(INVITATION, _promise(fleet, role, identity.public_of(secret), until))


def take(secret: bytes, granted: bytes, member: NodeId, *, until: int, joined: int) -> Credential:
    """Return the credential of `member`, who holds an invitation's secret and takes it at `joined` (seconds since 1970)."""
    taken = identity.sign(secret, MEMBER, _taking(member, joined))
    return Credential(invitation=identity.public_of(secret), until=until, granted=granted, joined=joined, taken=taken)


def _taking(member: NodeId, joined: int) -> bytes:
    return bytes(member) + joined.to_bytes(MOMENT_BYTES, "big")


def verify(credential: Credential, member: NodeId, *, operator: NodeId, fleet: NodeId, role: str) -> None:
    """Raise SealBroken unless `operator` invited the holder of this credential into `fleet` for `role`."""
    promise = _promise(fleet, role, credential.invitation, credential.until)
    identity.verify(operator, INVITATION, promise, credential.granted)
    taking = _taking(member, credential.joined)
    identity.verify(NodeId(credential.invitation), MEMBER, taking, credential.taken)


def missing(credential: Credential | None, member: NodeId, *, operator: NodeId, fleet: NodeId, role: str) -> list[str]:
    """Return what is wrong with a member's credential, in words; empty when the operator invited it."""
    if credential is None:
        return ["the fleet's operator never invited this machine: only the orchestrator says it is a member"]
    try:
        verify(credential, member, operator=operator, fleet=fleet, role=role)
    except SealBroken:
        return ["its credential is not from this fleet's operator"]
    if credential.joined > credential.until:
        return ["it took its invitation after that had expired"]
    return []
