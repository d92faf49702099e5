"""The other side of membership: keep a session with the orchestrator, join once, come back for ever.

States: away -> dialling -> greeting -> inside, and back to away with a growing pause. `barred` is final: the
orchestrator turned us away and asking again would not help. docs/specs/membership.md numbers the rules.
"""

from enum import StrEnum

import msgspec

from propolis.messages.membership import Join, Rejoin, Role, TurnedAway, Welcome
from propolis.protocols.machine import Action, Dial
from propolis.terms.capability import CapabilityReport
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential
from propolis.terms.identity import NodeId
from propolis.terms.text import one_line
from propolis.terms.time import Instant

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0
GREETING_SECONDS = 5.0


class State(StrEnum):
    """Where the member stands."""

    AWAY = "away"
    DIALLING = "dialling"
    GREETING = "greeting"
    INSIDE = "inside"
    BARRED = "barred"


class Inside(msgspec.Struct, frozen=True):
    """We are in. `first` = our token was just spent: from now on our key is our proof. `observed` = our echoed address."""

    first: bool
    observed: str


class Barred(msgspec.Struct, frozen=True):
    """We are turned away for good."""

    code: str
    reason: str


class Member:
    """Keeps one party inside its fleet."""

    def __init__(self, orchestrator: Contact, role: Role, token: bytes, report: CapabilityReport | None) -> None:
        self.orchestrator = orchestrator
        self.state = State.AWAY
        self.report = report
        self.credential: Credential | None = None
        self.addresses: tuple[str, ...] = ()
        self._role = role
        self._token = token
        self._pause = FIRST_PAUSE
        self._due: Instant | None = Instant(0.0)
        self._in_session = False  # welcomed in the session that is open now

    @property
    def peer(self) -> NodeId:
        """The orchestrator's key."""
        return self.orchestrator.id

    def deadline(self) -> Instant | None:
        """Return when `tick` is wanted."""
        return self._due

    def tick(self, now: Instant) -> list[Action]:
        """Dial when it is time to."""
        if self._due is None or now < self._due:
            return []
        if self.state is State.AWAY:
            self.state, self._due = State.DIALLING, None
            return [Dial(self.orchestrator)]
        if self.state is State.GREETING:  # our words or the answer were lost with a session: begin again
            self.lost(now)
        return []

    def dialled(self, now: Instant) -> None:
        """The channel stands: a session that is still open goes on; otherwise first words follow its opening (rule 1)."""
        if self._in_session:
            self.state, self._due, self._pause = State.INSIDE, None, FIRST_PAUSE
        elif self.state is State.DIALLING:
            self.state, self._due = State.GREETING, Instant(now + GREETING_SECONDS)

    def opened(self, now: Instant) -> Join | Rejoin | None:
        """Return the first words of a fresh session."""
        if self.state is State.BARRED:
            return None
        self._in_session = False
        self.state, self._due = State.GREETING, Instant(now + GREETING_SECONDS)
        if self._token:
            return Join(
                role=self._role,
                token=self._token,
                report=self.report,
                addresses=self.addresses,
                credential=self.credential,
            )
        return Rejoin(role=self._role, report=self.report, addresses=self.addresses, credential=self.credential)

    def answered(self, words: Welcome | TurnedAway) -> Inside | Barred | None:
        """Take the orchestrator's answer."""
        if self.state is not State.GREETING:
            return None
        self._due = None
        if isinstance(words, TurnedAway):
            self.state = State.BARRED
            return Barred(one_line(words.code), one_line(words.reason))
        first, self._token = bool(self._token), b""
        self.state, self._pause, self._in_session = State.INSIDE, FIRST_PAUSE, True
        return Inside(first, words.observed)

    def ended(self, now: Instant) -> None:
        """The session is over."""
        self._in_session = False
        self.lost(now)

    def lost(self, now: Instant) -> None:
        """The dial failed or the channel broke: come back after a pause; the session may still go on."""
        if self.state in (State.BARRED, State.AWAY):
            return
        self.state, self._due = State.AWAY, Instant(now + self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
