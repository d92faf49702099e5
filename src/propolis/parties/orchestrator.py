"""The orchestrator: links to everyone, the registrar that lets members in, the dispatcher that runs their jobs.

A machine of another family is one more resident: it hears members' messages, and what its members' roles are it learns from
the changes all residents are told.
"""

from propolis.decisions.guarantees import Known
from propolis.messages.envelope import Segment
from propolis.messages.jobs import Answer, Ask
from propolis.messages.membership import (
    AskInvite,
    Invited,
    Join,
    PolicySet,
    Rejoin,
    Remove,
    Removed,
    Role,
    SetPolicy,
    ShowPolicy,
    ShowRemovals,
)
from propolis.parties.residents import Residents, posted
from propolis.ports.entropy import Entropy
from propolis.ports.store import Put
from propolis.ports.store import Rows as Stored
from propolis.protocols import session
from propolis.protocols.attestation.verifier import Verifier
from propolis.protocols.jobs.desk import DispatcherConfig
from propolis.protocols.jobs.dispatcher import Dispatcher
from propolis.protocols.link.office import Heard, Lost, Notice, Office, Opened, Recovered, Suspected
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import (
    Action,
    ChannelClosed,
    ChannelOpened,
    DialFailed,
    Event,
    Mail,
    PacketArrived,
    Persist,
    TimePassed,
)
from propolis.protocols.membership.mandate import Change, Mandate
from propolis.protocols.membership.registrar import Greeting, Registrar
from propolis.terms.credential import SignedRemovals
from propolis.terms.identity import NodeId
from propolis.terms.policy import SignedPolicy
from propolis.terms.time import Instant, earliest

META = "meta"
BOOT = b"boot"
ANSWERS = (Answer, Invited, Removed, PolicySet)
MAX_UNANSWERED = 8  # answers an owner may leave unacknowledged before it is asked in vain


class OrchestratorParty:
    """Office + Registrar + Mandate + Dispatcher + Verifier."""

    def __init__(
        self,
        entropy: Entropy,
        boot: int,
        known: Known,
        *,
        link: LinkConfig | None = None,
        jobs: DispatcherConfig | None = None,
        epoch: float = 0.0,
    ) -> None:
        """`epoch`: seconds since 1970 at instant 0."""
        self.office = Office(entropy, link, trusting=False)
        self.registrar = Registrar(entropy, epoch)
        self.dispatcher = Dispatcher(entropy, boot, known, jobs)
        self.mandate = Mandate()
        self.verifier = Verifier(entropy, epoch)
        self.residents = Residents(self.dispatcher, self.verifier)
        self._boot = boot
        self._roles: dict[NodeId, Role] = {}
        self._observed: dict[NodeId, str] = {}

    @classmethod
    def restored(
        cls,
        entropy: Entropy,
        rows: Stored,
        known: Known,
        now: Instant,
        *,
        link: LinkConfig | None = None,
        epoch: float = 0.0,
    ) -> "OrchestratorParty":
        """Return the party as its store left it, at its next boot; nothing stored yet makes a fresh one."""
        boot = int.from_bytes(rows.get(META, BOOT) or b"", "big") + 1
        party = cls(entropy, boot, known, link=link, epoch=epoch)
        party.registrar.restore(rows)
        party.dispatcher.restore(rows, now)
        party.mandate.restore(rows)
        party.verifier.restore(rows, party.mandate.rules)
        return party

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take one event."""
        if isinstance(event, session.DiskFilled):
            self.registrar.full = event.spilled
        if not isinstance(event, ChannelOpened | ChannelClosed | PacketArrived | TimePassed | DialFailed):
            return self._lead(event, now)
        if isinstance(event, ChannelOpened):
            self._observed[event.peer] = event.observed
            if event.peer not in self._roles and not self.registrar.stranger(event.peer, now):
                return self._drop(event.peer)
        actions, notices = self.office.handle(event, now)
        for notice in notices:
            actions += self._noticed(notice, now)
        if isinstance(event, ChannelClosed) and event.peer not in self._roles:
            self.registrar.departed(event.peer)
            self._observed.pop(event.peer, None)
        if isinstance(event, TimePassed):
            for peer in self.registrar.overdue(now):
                actions += self._drop(peer)
            actions += self._lead(event, now)
        return actions

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return earliest(self.office.deadline(), self.registrar.deadline(), self.residents.deadline())

    def check(self) -> None:
        """Assert the invariants."""
        self.office.check()
        self.registrar.check()
        self.residents.check()
        for node in self.dispatcher.desk.nodes.values():
            assert not node.up or node.suspect == self.office.is_suspect(node.id), (
                "suspicion begins and ends with the link's"
            )

    def first_writes(self) -> Persist:
        """Return what to write before anything else: this boot's number."""
        return Persist((Put(META, BOOT, self._boot.to_bytes(8, "big")),))

    # -- notices

    def _noticed(self, notice: Notice, now: Instant) -> list[Action]:
        role = self._roles.get(notice.peer)
        match notice:
            case Heard(message=Join() | Rejoin() as words):
                return self._greet(notice.peer, words, now)
            case Heard(message=Ask() | AskInvite() | Remove() | SetPolicy()) if (
                self.office.waiting(notice.peer, ANSWERS) >= MAX_UNANSWERED
            ):
                return []  # who takes no answers gets no more of them
            case Heard(message=AskInvite() as ask) if role is Role.OWNER:
                return self._invite(notice.peer, ask, now)
            case Heard(message=Remove() as order) if role is Role.OWNER:
                return self._remove(notice.peer, order, notice.body, now)
            case Heard(message=SetPolicy() as wish) if role is Role.OWNER:
                return self._set_policy(notice.peer, wish, notice.body, now)
            case Heard() if role is not None:
                said = session.Said(notice.peer, notice.message, notice.body)
                return self._lead(said, now)
            case Heard():
                return self._drop(notice.peer)  # a stranger's first words are Join or Rejoin, or it is no guest of ours
            case Opened():
                return []
            case Suspected() if role is Role.NODE:
                return self._lead(session.NodeSuspected(notice.peer), now)
            case Recovered() if role is Role.NODE:
                return self._lead(session.NodeRecovered(notice.peer), now)
            case Lost() if role is not None:
                del self._roles[notice.peer]
                left = [] if self._stays_as_stranger(notice.peer, now) else self._drop(notice.peer)
                event = session.NodeLost(notice.peer) if role is Role.NODE else session.OwnerLost(notice.peer)
                return left + self._lead(event, now)
            case _:
                return []

    def _greet(self, peer: NodeId, words: Join | Rejoin, now: Instant) -> list[Action]:
        observed = self._observed.get(peer, "")
        greeting: Greeting
        if isinstance(words, Join):
            greeting = self.registrar.join(peer, words, observed, now)
        else:
            greeting = self.registrar.rejoin(peer, words, observed)
        actions: list[Action] = [Persist(greeting.writes)] if greeting.writes else []
        actions += self.office.post([Mail(peer, greeting.answer)], now)
        entered = greeting.entered
        if entered is None:
            return actions  # the answer leaves first; its silence afterwards is what hangs it up
        self._roles[peer] = entered.role
        self.office.admit(peer)
        event: Event | None = session.OwnerEntered(peer)
        if entered.role is Role.NODE:
            report, credential = entered.report, entered.credential
            event = session.NodeEntered(peer, report, entered.addresses, credential) if report else None
        else:
            actions += self.office.post(
                self._shown([peer]) + self._policy([peer]), now
            )  # before anything asks it for a key
        if event is not None:
            actions += self._lead(event, now)
        return actions

    def _invite(self, peer: NodeId, ask: AskInvite, now: Instant) -> list[Action]:
        if not self.registrar.is_operator(peer):
            refusal = Invited(request=ask.request, token=b"", reason="only the fleet's operator invites")
            return self.office.post([Mail(peer, refusal)], now)
        token, writes = self.registrar.invite(ask.role, until=ask.until, now=now)
        why = "the orchestrator's disk is full" if self.registrar.full else "too many invitations are open"
        reason = "" if token else why
        answer = Mail(peer, Invited(request=ask.request, token=token, reason=reason))
        return [Persist(writes), *self.office.post([answer], now)] if writes else self.office.post([answer], now)

    def _remove(self, peer: NodeId, order: Remove, body: tuple[Segment, ...], now: Instant) -> list[Action]:
        """Keep the operator's list, end what it ends, and show it to every owner that is here."""
        signed = SignedRemovals(data=bytes(body[0]) if len(body) == 1 else b"", signature=order.signature)
        expulsion = self.registrar.remove(peer, signed)
        actions: list[Action] = [Persist(expulsion.writes)] if expulsion.writes else []
        for member in expulsion.gone:
            self._roles.pop(member, None)
            actions += self._lead(session.MemberRemoved(member), now)
            actions += self._drop(member)
        owners = [owner for owner, role in self._roles.items() if role is Role.OWNER]
        mails = [Mail(peer, Removed(request=order.request, reason=expulsion.reason))]
        mails += [] if expulsion.reason else self._shown(owners)
        return actions + self.office.post(mails, now)

    def _shown(self, owners: list[NodeId]) -> list[Mail]:
        signed = self.registrar.removals
        if signed is None:
            return []
        return [Mail(owner, ShowRemovals(signature=signed.signature), (signed.data,)) for owner in owners]

    def _set_policy(self, peer: NodeId, wish: SetPolicy, body: tuple[Segment, ...], now: Instant) -> list[Action]:
        """Keep the operator's policy, judge everybody anew by it, and show it to every owner that is here."""
        signed = SignedPolicy(data=bytes(body[0]) if len(body) == 1 else b"", signature=wish.signature)
        if not self.registrar.is_operator(peer):
            change = Change(reason="only the fleet's operator sets its policy")
        elif self.registrar.full:
            change = Change(reason="the orchestrator's disk is full")
        else:
            change = self.mandate.set(peer, signed)
        actions: list[Action] = [Persist(change.writes)] if change.writes else []
        mails = [Mail(peer, PolicySet(request=wish.request, reason=change.reason))]
        if change.rules is not None:
            owners = [owner for owner, role in self._roles.items() if role is Role.OWNER]
            mails += self._policy(owners)
        actions += self.office.post(mails, now)
        return actions + (self._lead(session.PolicyChanged(change.rules), now) if change.rules is not None else [])

    def _policy(self, owners: list[NodeId]) -> list[Mail]:
        signed = self.mandate.signed
        if signed is None:
            return []
        return [Mail(owner, ShowPolicy(signature=signed.signature), (signed.data,)) for owner in owners]

    def _stays_as_stranger(self, peer: NodeId, now: Instant) -> bool:
        """A new incarnation on a channel that stands has to say who it is, in a stranger's time."""
        return not self.office.knows(peer) or self.registrar.stranger(peer, now)

    def _drop(self, peer: NodeId) -> list[Action]:
        self.registrar.departed(peer)
        self._observed.pop(peer, None)
        return self.office.forget(peer)

    def _lead(self, event: Event, now: Instant) -> list[Action]:
        return posted(self.office, self.residents.handle(event, now), now)
