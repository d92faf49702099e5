"""The last gate before a key leaves, and it is the owner's: whose guest it is, what that machine offers, who vouches for it.

docs/specs/job.md, step 6. Nothing in here trusts the orchestrator: a receipt is what a node signed, a credential and a list
of removals are what the operator signed.
"""

from collections.abc import Mapping, Sequence

from propolis.crypto import credential, identity
from propolis.decisions import admission
from propolis.decisions.appraisal.member import Row
from propolis.decisions.appraisal.policy import DEFAULT, Rules
from propolis.decisions.guarantees import Known
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.envelope import Segment
from propolis.messages.membership import Role
from propolis.ports.store import Put
from propolis.protocols import policies, removals
from propolis.protocols.jobs.vouching import Vouched, vouch
from propolis.terms.calendar import Seconds
from propolis.terms.credential import Removals, SignedRemovals
from propolis.terms.errors import ConfigError, MalformedMessage, SealBroken
from propolis.terms.identity import GuestId, NodeId
from propolis.terms.job import MAX_GRANTED, MAX_GRANTED_EACH, JobSpec, Receipt
from propolis.terms.policy import PolicyOrder, SignedPolicy


class Release:
    """What one owner checks of a guest before it seals a key to it."""

    def __init__(
        self,
        fleet: NodeId,
        operator: NodeId,
        known: Known,
        kept: SignedRemovals | None,
        policy: SignedPolicy | None = None,
        *,
        rehearse: bool = False,
    ) -> None:
        """`operator`: whose word on a node counts; `kept`, `policy`: its newest list of removals and policy that we saw.

        `rehearse`: this owner accepts what is proven by emulated TPMs, if the policy does.
        """
        self._rehearse = rehearse
        self._order: PolicyOrder | None = None
        self._unread = ""  # why the newest policy is none we could judge by
        self.rules = Rules(DEFAULT)
        self._fleet = fleet
        self._operator = operator
        self._known = known
        self._removals: Removals | None = None
        if kept is not None:
            self.newer(kept)
        if policy is not None:
            self.newer_policy(policy)

    def heard(self, signed: SignedRemovals | SignedPolicy) -> Put | None:
        """Take the operator's newer word; returns the row to keep, None for an older one, or another's."""
        if isinstance(signed, SignedRemovals):
            return Put(removals.TABLE, removals.ROW, codec.encode(signed)) if self.newer(signed) else None
        return Put(policies.TABLE, policies.ROW, codec.encode(signed)) if self.newer_policy(signed) else None

    def newer(self, signed: SignedRemovals) -> bool:
        """Take a list of removals if the operator signed it after the one we have; returns whether."""
        try:
            found = removals.opened(signed, self._operator, self._fleet)
        except (SealBroken, MalformedMessage):
            return False  # whoever made it up learns nothing
        if self._removals is not None and found.number <= self._removals.number:
            return False
        self._removals = found
        return True

    def newer_policy(self, signed: SignedPolicy) -> bool:
        """Take a policy if the operator signed it after the one we have; returns whether."""
        try:
            order = policies.opened(signed, self._operator, self._fleet)
        except (SealBroken, MalformedMessage):
            return False
        if self._order is not None and order.number <= self._order.number:
            return False
        self._order = order
        try:
            self.rules, self._unread = Rules(policies.told(order), rehearse=self._rehearse), ""
        except ConfigError as error:  # the operator's word all the same: judging on by the older one could be wider
            self._unread = f"the fleet's policy number {order.number} is not understood here, update Propolis: {error}"
        return True

    @staticmethod
    def receipt(wanted: say.GrantWanted) -> Receipt | None:
        """Return the receipt a node signed; None when it is none: there is nobody to answer."""
        try:
            receipt: Receipt = codec.decode(wanted.receipt, Receipt)
            identity.verify(receipt.node_id, identity.RECEIPT, wanted.receipt, wanted.signature)
        except (MalformedMessage, SealBroken):
            return None
        return receipt

    def unknown(self, spec: JobSpec, receipt: Receipt) -> list[str]:
        """Return why a receipt's node is nobody to look at: cheap to tell, before its evidence is judged."""
        reasons = credential.missing(
            receipt.credential, receipt.node_id, operator=self._operator, fleet=self._fleet, role=Role.NODE
        )
        if self.removed(receipt):
            reasons.append("the fleet's operator removed this machine")
        if receipt.job != spec.job:
            reasons.append("the receipt is for another job")
        return reasons

    def vouched(
        self, spec: JobSpec, receipt: Receipt, body: Sequence[Segment], now: Seconds, before: Row | None
    ) -> Vouched:
        """Return what the evidence beside a receipt proves to us (step 6a). `now` in seconds since 1970."""
        if self.unknown(spec, receipt):
            return Vouched()
        if self._unread and spec.challenge is not None:
            return Vouched(reason=self._unread[:300])
        return vouch(spec, receipt, body, self.rules, self._known.weaknesses, now, before)

    def lacking(
        self, spec: JobSpec, receipt: Receipt, vouched: Vouched, granted: Mapping[GuestId, Receipt], its: int
    ) -> list[str]:
        """Return why no key of the job leaves for this guest; empty when one may.

        `granted`: the guests that hold one; `its`: how many of them are this machine's.
        """
        reasons = admission.lacking(spec.requirement, receipt.isolation, receipt.offer, vouched.proven, self._known)
        if vouched.reason:  # whoever asked for evidence gives no key without, also where the demands would be met
            reasons.append(vouched.reason)
        reasons += self.unknown(spec, receipt)
        known = granted.get(receipt.guest_id, receipt)
        if (known.node, known.guest_key) != (receipt.node, receipt.guest_key):
            reasons.append("another guest has this id")  # two guests under one id would seal under one root
        fresh = receipt.guest_id not in granted
        if fresh and len(granted) >= MAX_GRANTED:
            reasons.append("this job's keys went to too many guests already")
        if fresh and its >= MAX_GRANTED_EACH:
            reasons.append("too many guests of this machine got the job's key and ended")
        return reasons

    @property
    def policy(self) -> int:
        """The number of the newest policy of the operator's that was seen; 0 where none was."""
        return self._order.number if self._order is not None else 0

    def overtaken(self, spec: JobSpec, receipt: Receipt, policy: int) -> str:
        """Return why a key that was released stays here after all: what the operator said while it was sealed, or ""."""
        if self.removed(receipt):
            return "the fleet's operator removed this machine"
        if spec.challenge is not None and policy != self.policy:
            return "the fleet's policy changed while the key was sealed"
        return ""

    def removed(self, receipt: Receipt) -> bool:
        """Return whether the operator removed this guest's node."""
        return removals.removed(self._removals, receipt.node_id, receipt.credential)
