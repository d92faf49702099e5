"""What node and owner have in common: one session with the orchestrator, kept alive, and the machines that live in it."""

from propolis.messages.jobs import Expect
from propolis.messages.membership import Invited, PolicySet, Removed, TurnedAway, Welcome
from propolis.parties.residents import Residents, posted
from propolis.ports.entropy import Entropy
from propolis.protocols import session
from propolis.protocols.link.office import Heard, Lost, Notice, Office, Opened
from propolis.protocols.link.terms import LinkConfig
from propolis.protocols.machine import (
    Action,
    ChannelClosed,
    ChannelOpened,
    DialFailed,
    Event,
    HangUp,
    Mail,
    PacketArrived,
    Tell,
    TimePassed,
)
from propolis.protocols.membership.member import Member
from propolis.terms.time import Instant, earliest


class MemberParty:
    """Office + Member + residents. What they hear is the orchestrator's; no other peer has a session with a member yet."""

    def __init__(self, entropy: Entropy, member: Member, residents: Residents, link: LinkConfig | None = None) -> None:
        self.office = Office(entropy, link, max_peers=64)
        self.member = member
        self.residents = residents

    def handle(self, event: Event, now: Instant) -> list[Action]:
        """Take one event."""
        if isinstance(event, ChannelOpened | ChannelClosed | PacketArrived | TimePassed | DialFailed):
            return self._carrier(event, now)
        return self._lead(event, now)

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        return earliest(self.office.deadline(), self.member.deadline(), self.residents.deadline())

    def check(self) -> None:
        """Assert the invariants."""
        self.office.check()
        self.residents.check()

    def _carrier(self, event: Event, now: Instant) -> list[Action]:
        if isinstance(event, ChannelOpened) and event.peer != self.member.peer:
            return [HangUp(event.peer)]  # other peers come for sealed blobs only, on streams of their own
        actions, notices = self.office.handle(event, now)
        match event:
            case ChannelOpened():
                self.member.dialled(now)
            case ChannelClosed(peer=peer) | DialFailed(peer=peer) if peer == self.member.peer:
                self.member.lost(now)
            case TimePassed():
                actions += self._lead(event, now)
            case _:
                pass
        for notice in notices:
            actions += self._noticed(notice, now)
        actions += self.member.tick(now)
        return actions

    def _noticed(self, notice: Notice, now: Instant) -> list[Action]:
        match notice:
            case Opened():
                words = self.member.opened(now)
                return self.office.post([Mail(notice.peer, words)], now) if words else []
            case Lost(unsent=unsent):
                self.member.ended(now)
                pairs = tuple((item.message, item.parts) for item in unsent)
                return self._lead(session.Disconnected(pairs), now)
            case Heard(message=Welcome() | TurnedAway() as words):
                return self._answered(words, now)
            case Heard(message=Invited() | Removed() | PolicySet() | Expect() as news):
                return [Tell(news)]
            case Heard():
                said = session.Said(notice.peer, notice.message, notice.body)
                return self._lead(said, now)
            case _:
                return []

    def _answered(self, words: Welcome | TurnedAway, now: Instant) -> list[Action]:
        verdict = self.member.answered(words)
        if verdict is None:
            return []
        actions: list[Action] = [Tell(verdict)]
        if isinstance(words, Welcome):
            actions += self._lead(session.Connected(), now)
        return actions

    def _lead(self, event: Event, now: Instant) -> list[Action]:
        outputs = self.residents.handle(event, now)
        actions = posted(self.office, [o for o in outputs if not isinstance(o, session.EndSession)], now)
        for output in outputs:
            if isinstance(output, session.EndSession):
                actions += self._end_session(output, now)
        return actions

    def _end_session(self, ended: session.EndSession, now: Instant) -> list[Action]:
        """Hang up after what was said, and come back as a new incarnation: nothing of the old session is resumed."""
        self.member.ended(now)
        actions: list[Action] = [Tell(ended), *self.office.forget(ended.peer)]
        return actions + self._lead(session.Disconnected(()), now)
