"""The attester: a node's side of attestation. It shows what it is asked to, opens the credential of that round, and no other.

docs/specs/attestation.md, steps 7 and 14. A credential is opened only in the round whose nonce it bears: a node that opened
any would open, for whoever asks, what others made for it. That it opened is all it tells: an orchestrator that passes the
credential of an owner's grant off as its own learns nothing of what is inside.
"""

from typing import ClassVar

from propolis.crypto.binding import Purpose, bind
from propolis.crypto.tpm import bound
from propolis.messages import attestation as say
from propolis.messages.envelope import Message
from propolis.protocols import session
from propolis.protocols.attestation import events as ev
from propolis.protocols.machine import Action, Event, Mail, Tell, WorkDone, WorkFailed
from propolis.terms.identity import NodeId
from propolis.terms.text import without_paths
from propolis.terms.time import Instant

Output = Action | Mail


class Attester:
    """Attestation at a node. `kinds`: what it can show."""

    hears: ClassVar[session.Hears] = (say.Challenge, say.Activate, say.Appraised)
    takes: ClassVar[session.Takes] = ()

    def __init__(self, orchestrator: NodeId, node: NodeId, kinds: tuple[str, ...]) -> None:
        self._peer = orchestrator
        self._node = node
        self._kinds = kinds
        self._nonce = b""  # of the round at hand
        self._opened = False  # one credential a round
        self._work: dict[int, bytes] = {}  # ticket -> the round it belongs to
        self._last_ticket = 0
        self._out: list[Output] = []

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event."""
        match event:
            case session.Connected() | session.Disconnected():
                self._nonce = b""
            case session.Said(message=message):
                self._said(message)
            case WorkDone(ticket=ticket, result=result):
                self._done(ticket, result)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._failed(ticket, without_paths(f"{code}: {reason}")[:500])
            case _:
                pass
        out, self._out = self._out, []
        return out

    def deadline(self) -> Instant | None:
        """Nothing here waits for time; the verifier does."""
        return None

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._work) <= 64

    def _said(self, message: Message) -> None:
        match message:
            case say.Challenge(nonce=nonce, pcrs=pcrs, bank=bank) if len(self._work) < 64:
                self._nonce, self._opened = nonce, False
                if not self._kinds:
                    self._say(say.Evidence(nonce=nonce, kind="software-key/1"))
                    return
                binding = bind(nonce, self._node, Purpose.MEMBER)
                self._out.append(ev.Show(self._ticket(), nonce, binding, pcrs, bank))
            case say.Activate(nonce=nonce, blob=blob, secret=secret) if nonce == self._nonce and not self._opened:
                self._opened = True
                self._out.append(ev.OpenCredential(self._ticket(), blob, secret))
            case say.Appraised(proven=proven):
                self._out += [Tell(message), session.Announce(session.ProvenHere(proven))]
            case _:
                pass

    def _done(self, ticket: int, result: object) -> None:
        if self._work.pop(ticket, b"") != self._nonce:
            return  # of a round that is over
        if isinstance(result, bytes):
            self._say(say.Activated(nonce=self._nonce, proof=bound.activated(result, self._nonce)))
        elif isinstance(result, tuple):
            evidence, body = result
            self._out.append(Mail(self._peer, evidence, body))

    def _failed(self, ticket: int, why: str) -> None:
        if self._work.pop(ticket, b"") != self._nonce:
            return
        if self._opened:
            self._say(say.Activated(nonce=self._nonce, proof=b""))
        else:
            kind = self._kinds[0] if self._kinds else "software-key/1"
            self._say(say.Evidence(nonce=self._nonce, kind=kind, reason=why))

    def _ticket(self) -> int:
        self._last_ticket += 1
        self._work[self._last_ticket] = self._nonce
        return self._last_ticket

    def _say(self, message: Message) -> None:
        self._out.append(Mail(self._peer, message))
