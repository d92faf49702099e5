"""An owner's client: its session with the orchestrator and the jobs it submitted."""

from collections.abc import Mapping

from propolis.decisions.appraisal.member import Row
from propolis.decisions.guarantees import Known
from propolis.messages.membership import AskInvite, Remove, Role, SetPolicy
from propolis.parties.member import MemberParty
from propolis.parties.residents import Residents
from propolis.ports.entropy import Entropy
from propolis.protocols.jobs.events import PolicyMade, RemovalsMade
from propolis.protocols.jobs.release import Release
from propolis.protocols.jobs.submitter import Submitter
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import Action, Event, Mail
from propolis.protocols.membership.member import Member
from propolis.terms.contact import Contact
from propolis.terms.credential import SignedRemovals
from propolis.terms.identity import NodeId
from propolis.terms.policy import SignedPolicy
from propolis.terms.time import Instant


class InviteAsked(Event, frozen=True):
    """The client wants a fresh invitation; answered by Tell(Invited)."""

    request: int
    role: Role
    until: int


class RemoveAsked(Event, frozen=True):
    """The client signed a new list of removals; answered by Tell(Removed)."""

    request: int
    signed: SignedRemovals


class PolicyAsked(Event, frozen=True):
    """The client signed a new policy; answered by Tell(PolicySet)."""

    request: int
    signed: SignedPolicy


class OwnerParty(MemberParty):
    """A member that submits jobs and may invite others."""

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take one event."""
        match event:
            case InviteAsked(request=request, role=role, until=until):
                mail = Mail(self.member.peer, AskInvite(role=role, request=request, until=until))
                return self.office.post([mail], now)
            case RemoveAsked(request=request, signed=signed):
                order = Remove(request=request, signature=signed.signature)
                kept = super().handle(RemovalsMade(signed), now)  # before anybody hears of it
                return kept + self.office.post([Mail(self.member.peer, order, (signed.data,))], now)
            case PolicyAsked(request=request, signed=signed):
                wish = SetPolicy(request=request, signature=signed.signature)
                kept = super().handle(PolicyMade(signed), now)
                return kept + self.office.post([Mail(self.member.peer, wish, (signed.data,))], now)
            case _:
                return super().handle(event, now)


def owner_party(
    entropy: Entropy,
    orchestrator: Contact,
    known: Known,
    *,
    operator: NodeId,
    token: bytes = b"",
    removals: SignedRemovals | None = None,
    policy: SignedPolicy | None = None,
    rehearse: bool = False,
    rows: Mapping[NodeId, Row] | None = None,
    epoch: float = 0.0,
    link: LinkConfig | None = None,
) -> OwnerParty:
    """Return an owner. `token` is the invitation's while it has not joined yet; `operator` invites this fleet's nodes.

    `removals`, `policy`: the newest of the operator's that were seen; `rehearse`: this owner accepts emulated TPMs, if the
    policy does; `rows`: what is kept of machines that proved something; `epoch`: seconds since 1970 at instant 0.
    """
    member = Member(orchestrator, Role.OWNER, token, None)
    release = Release(orchestrator.id, operator, known, removals, policy, rehearse=rehearse)
    submitter = Submitter(orchestrator, release, rows, epoch)
    return OwnerParty(entropy, member, Residents(submitter), link)
