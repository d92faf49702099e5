"""The verifier: challenges nodes that have something to show, activates their keys once, and renews what it concluded.

docs/specs/attestation.md, steps 14 to 18. Pure: appraisal and signing are asked of the world, chance is handed in. A node
is in at most one round at a time; a round that takes too long is over. What is concluded ends by itself at its lease.
"""

import hmac
from typing import ClassVar

from propolis.crypto.tpm import bound, outside
from propolis.decisions.appraisal.member import Row
from propolis.decisions.appraisal.policy import DEFAULT, Rules
from propolis.messages import attestation as say
from propolis.messages import codec
from propolis.messages.envelope import Message, Segment
from propolis.ports.entropy import Entropy
from propolis.ports.store import Drop, Put, Rows
from propolis.protocols import session
from propolis.protocols.attestation import events as ev
from propolis.protocols.attestation import results, rounds
from propolis.protocols.attestation.rounds import Round, Stage, Standing, Waiting
from propolis.protocols.machine import Action, Event, Mail, Persist, TimePassed, WorkDone, WorkFailed
from propolis.terms.errors import Rejected
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import NodeId
from propolis.terms.time import Instant

ATTESTED = "attested"
HARDWARE = ("tpm2-quote/1",)
Output = Action | Mail


class Verifier:
    """Attestation at the orchestrator."""

    hears: ClassVar[session.Hears] = (say.Evidence, say.Activated)
    takes: ClassVar[session.Takes] = ()

    def __init__(self, entropy: Entropy, epoch: float) -> None:
        """`epoch`: seconds since 1970 at instant 0. Judges by the default policy until it hears of another."""
        self._entropy = entropy
        self._rules = Rules(DEFAULT)
        self._epoch = epoch
        self._rows: dict[NodeId, Row] = {}
        self._holders: dict[bytes, NodeId] = {}  # endorsement key -> the one node it serves
        self._nodes: dict[NodeId, Standing] = {}
        self._begun: dict[NodeId, Instant] = {}  # when a node's last round began, also while it is away
        self._work: dict[int, tuple[NodeId, bytes]] = {}  # ticket -> node, and the nonce of its round
        self._waiting = Waiting()
        self._last_ticket = 0
        self._now = Instant(0.0)
        self._out: list[Output] = []

    def restore(self, rows: Rows, rules: Rules) -> None:
        """Take what is stored, and the policy. Raises MalformedMessage."""
        self._rules = rules
        for key, value in rows.scan(ATTESTED):
            self._keep(NodeId(key), codec.decode(value, Row))

    def handle(self, event: Event, now: Instant) -> list[Output]:
        """Take one event."""
        self._now = now
        match event:
            case session.NodeEntered(node=node, report=report):
                self._nodes[node] = Standing(tuple(kind for kind in report.shows if kind in HARDWARE))
                self._begin_soon(node)
            case session.NodeLost(node=node):
                self._nodes.pop(node, None)
            case session.MemberRemoved(member=node):
                self._forget(node)
            case session.PolicyChanged(rules=rules):
                self._anew(rules)
            case session.Said(peer=peer, message=message, body=body):
                self._said(peer, message, body)
            case WorkDone(ticket=ticket, result=result):
                self._done(ticket, result)
            case WorkFailed(ticket=ticket, code=code, reason=reason):
                self._failed(ticket, f"{code}: {reason}")
            case TimePassed():
                self._tick()
            case _:
                pass
        out, self._out = self._out, []
        return out

    def deadline(self) -> Instant | None:
        """Return when TimePassed is wanted."""
        due = [
            at for node in self._nodes.values() for at in (node.next, node.until, node.round and node.round.due) if at
        ]
        return min(due, default=None)

    def check(self) -> None:
        """Assert the invariants."""
        assert len(self._holders) == len(self._rows)
        for node in self._nodes.values():
            assert node.until is None or node.kinds, "nothing is concluded of a node that shows nothing"

    # -- rounds

    def _begin_soon(self, name: NodeId) -> None:
        """Ask a node that entered: at once, or when its last round is long enough ago."""
        last = self._begun.get(name)
        if last is not None and self._now < last + rounds.PAUSE_SECONDS and self._nodes[name].kinds:
            self._nodes[name].next = Instant(last + rounds.PAUSE_SECONDS)
        else:
            self._begin(name)

    def _begin(self, name: NodeId) -> None:
        node = self._nodes[name]
        node.next = None
        if not node.kinds:
            return
        if name in self._waiting:  # it came back before we were done with it: what is kept of one node has a bound
            node.round, node.next = None, Instant(self._now + rounds.PAUSE_SECONDS)
            return
        if len(self._begun) >= rounds.MAX_BEGUN:
            self._begun = {each: at for each, at in self._begun.items() if self._now < at + rounds.PAUSE_SECONDS}
        self._begun[name] = self._now
        node.round = Round(self._entropy.draw(32), Instant(self._now + rounds.ROUND_SECONDS))
        policy = self._rules.policy
        self._say(name, say.Challenge(nonce=node.round.nonce, pcrs=policy.asked, bank=policy.bank))

    def _anew(self, rules: Rules) -> None:
        """Another policy: what the old one concluded is over at once, and everybody is asked again."""
        self._rules = rules
        for name, node in self._nodes.items():
            if node.kinds:
                node.until = None
                self._tell(name, NOTHING, reason="policy: the fleet's policy changed, and the node is asked anew")
            self._begin(name)

    def _said(self, peer: NodeId, message: Message, body: tuple[Segment, ...]) -> None:
        node = self._nodes.get(peer)
        if node is None or node.round is None:
            return
        match message:
            case say.Evidence(nonce=nonce) if node.round.stage is Stage.ASKED and nonce == node.round.nonce:
                self._judge(peer, node, message, body)
            case say.Activated(nonce=nonce, proof=proof) if (
                node.round.stage is Stage.ACTIVATING and nonce == node.round.nonce
            ):
                self._activated(peer, node, proof)
            case _:
                pass

    def _judge(self, peer: NodeId, node: Standing, evidence: say.Evidence, body: tuple[Segment, ...]) -> None:
        assert node.round is not None
        if evidence.reason:
            self._refuse(peer, "no_evidence", evidence.reason)
            return
        if evidence.kind not in node.kinds or len(body) > 2 or sum(map(len, body)) > 2 * say.MAX_LOGS:
            self._refuse(peer, "envelope_type", "not the evidence that was announced")
            return
        if not self._waiting.room(body):
            self._put_off(peer, node)
            return
        node.round.stage = Stage.JUDGED
        before = self._rows.get(peer)
        ticket = self._ticket(peer, node.round)
        self._waiting.add(peer, ticket, body)
        self._out.append(ev.Appraise(ticket, peer, evidence, body, self._rules, before, leased=node.until is not None))

    def _judged(self, peer: NodeId, node: Standing, found: ev.Conclusion) -> None:
        """Step 15: one node, its keys, for good."""
        assert node.round is not None
        if found.reason or found.judged is None:
            self._refuse(peer, found.reason or "malfunction", found.text)
            return
        known, row = self._rows.get(peer), found.judged.row
        if known is not None and (known.ek, known.ak) != (row.ek, row.ak):
            self._refuse(peer, "identity", "this node was enrolled with other keys; its operator has to enrol it anew")
        else:
            node.round.judged = found.judged
            if known is not None:
                self._conclude(peer, node)
            else:
                self._activate(peer, node)

    def _activate(self, peer: NodeId, node: Standing) -> None:
        """Step 14: only a TPM that holds both keys opens what is made for both."""
        assert node.round is not None
        assert node.round.judged is not None
        found, round_ = node.round.judged, node.round
        round_.secret = self._entropy.draw(32)
        scalar = int.from_bytes(self._entropy.draw(40), "big") % (2**255) + 1
        try:
            blob, secret = outside.make_credential(
                found.ek, found.ak.name, round_.secret, self._entropy.draw(32), scalar
            )
        except Rejected as error:
            self._refuse(peer, error.reason, str(error))
            return
        round_.stage = Stage.ACTIVATING
        self._say(peer, say.Activate(nonce=round_.nonce, blob=blob, secret=secret))

    def _activated(self, peer: NodeId, node: Standing, proof: bytes) -> None:
        assert node.round is not None
        if not hmac.compare_digest(bound.activated(node.round.secret, node.round.nonce), proof):
            self._refuse(peer, "ak_binding", "the attestation key does not live beside the endorsement key shown")
            return
        self._conclude(peer, node)

    def _conclude(self, peer: NodeId, node: Standing) -> None:
        """Steps 15 and 17: one endorsement key, one node; what was found holds for a lease, half-way it is asked anew."""
        assert node.round is not None
        found = node.round.judged
        assert found is not None
        # looked at now, not when the round began: two may have begun before either was through
        if self._holders.get(found.row.serves, peer) != peer:
            self._refuse(peer, "identity", "this endorsement key is another node's")
            return
        self._keep(peer, found.row)
        self._out.append(Persist((Put(ATTESTED, peer, codec.encode(found.row)),)))
        if found.pending:
            self._refuse(peer, "pending", found.pending)
            return
        seconds = min(float(self._rules.policy.lease_seconds), max(0.0, found.until - (self._epoch + self._now)))
        node.until, node.next = Instant(self._now + seconds), Instant(self._now + seconds / 2)
        node.round.stage = Stage.SIGNING
        now, until = self._epoch + self._now, self._epoch + node.until
        node.round.proven = results.proven(found, until)
        result = results.result(found, peer, node.kinds[0], self._rules.policy.name, node.round.nonce, now, until)
        self._out.append(ev.SignResult(self._ticket(peer, node.round), result))

    def _refuse(self, peer: NodeId, reason: str, text: str) -> None:
        """Step 18: it is over at once, and why is told."""
        node = self._nodes[peer]
        node.round, node.until, node.next = None, None, Instant(self._now + rounds.AGAIN_SECONDS)
        self._tell(peer, NOTHING, reason=f"{reason}: {text}"[:300])
        self._say(peer, say.Appraised(reason=f"{reason}: {text}"[:500]))

    def _put_off(self, peer: NodeId, node: Standing) -> None:
        """There is no room to judge: that says nothing of this node, so what holds goes on until its lease ends."""
        if node.until is None:
            self._refuse(peer, "busy", "too much evidence waits to be judged; this node is asked again in a minute")
        node.round, node.next = None, Instant(self._now + rounds.AGAIN_SECONDS)

    # -- work and time

    def _done(self, ticket: int, result: object) -> None:
        peer, node = self._asked(ticket)
        if node is None or node.round is None:
            return
        if isinstance(result, ev.Conclusion) and node.round.stage is Stage.JUDGED:
            self._judged(peer, node, result)
        elif isinstance(result, str) and node.round.stage is Stage.SIGNING and node.until is not None:
            proven, node.round = node.round.proven, None
            until = int(self._epoch + node.until)
            self._say(peer, say.Appraised(ear=result, until=until, proven=proven))  # before it is asked to act on it
            self._tell(peer, proven)

    def _failed(self, ticket: int, why: str) -> None:
        peer, node = self._asked(ticket)
        if node is not None:
            self._refuse(peer, "malfunction", why)

    def _asked(self, ticket: int) -> tuple[NodeId, Standing | None]:
        """Return whose work it was, and how that node stands, if the round it was for goes on."""
        peer, nonce = self._work.pop(ticket, (NodeId(b""), b""))
        self._waiting.judged(peer, ticket)
        node = self._nodes.get(peer)
        return peer, node if node is not None and node.round is not None and node.round.nonce == nonce else None

    def _tick(self) -> None:
        for peer, node in list(self._nodes.items()):
            if node.until is not None and self._now >= node.until:
                node.until = None
                self._tell(peer, NOTHING, reason="expired: its evidence was not renewed")
            if node.round is not None and self._now >= node.round.due:
                self._refuse(peer, "silent", "the node did not answer in time")
            elif node.round is None and node.next is not None and self._now >= node.next:
                self._begin(peer)

    # -- small

    def _forget(self, peer: NodeId) -> None:
        """A node the operator removed: its machine may be enrolled anew, as whoever the operator invites."""
        self._nodes.pop(peer, None)
        row = self._rows.pop(peer, None)
        if row is not None:
            self._holders.pop(row.serves, None)
            self._out.append(Persist((Drop(ATTESTED, peer),)))

    def _keep(self, peer: NodeId, row: Row) -> None:
        self._holders.pop(self._rows.get(peer, row).serves, None)
        self._rows[peer] = row
        self._holders[row.serves] = peer

    def _ticket(self, peer: NodeId, round_: Round) -> int:
        self._last_ticket += 1
        self._work[self._last_ticket] = (peer, round_.nonce)
        return self._last_ticket

    def _say(self, peer: NodeId, message: Message) -> None:
        self._out.append(Mail(peer, message))

    def _tell(self, peer: NodeId, proven: Proven, *, reason: str = "") -> None:
        row = self._rows.get(peer)
        self._out.append(session.Announce(session.NodeProven(peer, proven, reason, row.ek if row is not None else b"")))
