"""A node: its session with the orchestrator and the guests it runs. Built the same way for real and in the simulator."""

from propolis.decisions.guarantees import Known
from propolis.messages.membership import Role
from propolis.parties.member import MemberParty
from propolis.parties.residents import Residents
from propolis.ports.entropy import Entropy
from propolis.protocols.attestation.attester import Attester
from propolis.protocols.jobs.worker import Worker
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.membership.member import Member
from propolis.terms.capability import CapabilityReport
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential
from propolis.terms.identity import NodeId


def node_party(
    entropy: Entropy,
    orchestrator: Contact,
    report: CapabilityReport,
    known: Known,
    *,
    node: NodeId,
    token: bytes = b"",
    addresses: tuple[str, ...] = (),
    credential: Credential | None = None,
    link: LinkConfig | None = None,
) -> MemberParty:
    """Return a node. `token` is the invitation's while it has not joined yet; `addresses` where its peers can dial it.

    `credential`: the operator's word on it; `node`: its own key, which its evidence is bound to.
    """
    member = Member(orchestrator, Role.NODE, token, report)
    member.addresses, member.credential = addresses, credential
    attester = Attester(orchestrator.id, node, report.shows)
    return MemberParty(entropy, member, Residents(Worker(orchestrator, report, known), attester), link)
