"""An owner's client: its session with the orchestrator and the jobs it submitted."""

from propolis.decisions.guarantees import Known
from propolis.messages.membership import AskInvite, Role
from propolis.parties.member import MemberParty
from propolis.parties.residents import Residents
from propolis.ports.world import Entropy
from propolis.protocols.jobs.submitter import Submitter
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import Action, Event, Mail
from propolis.protocols.membership.member import Member
from propolis.terms.contact import Contact
from propolis.terms.identity import NodeId
from propolis.terms.time import Instant


class InviteAsked(Event, frozen=True):
    """The client wants a fresh invitation; answered by Tell(Invited)."""

    request: int
    role: Role


class OwnerParty(MemberParty):
    """A member that submits jobs and may invite others."""

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take one event."""
        if isinstance(event, InviteAsked):
            return self.office.post([Mail(self.member.peer, AskInvite(role=event.role, request=event.request))], now)
        return super().handle(event, now)


def owner_party(
    entropy: Entropy,
    orchestrator: Contact,
    known: Known,
    *,
    operator: NodeId,
    token: bytes = b"",
    link: LinkConfig | None = None,
) -> OwnerParty:
    """Return an owner. `token` is the invitation's while it has not joined yet; `operator` invites this fleet's nodes."""
    member = Member(orchestrator, Role.OWNER, token, None)
    return OwnerParty(entropy, member, Residents(Submitter(orchestrator, known, operator)), link)
