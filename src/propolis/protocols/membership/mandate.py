"""The orchestrator's side of the fleet's policy: keeps the operator's newest one (docs/specs/attestation.md, step 19)."""

import msgspec

from propolis.decisions.appraisal.policy import DEFAULT, Rules
from propolis.messages import codec
from propolis.ports.store import Put, Rows, Write
from propolis.protocols import policies
from propolis.terms.errors import ConfigError, MalformedMessage, SealBroken
from propolis.terms.identity import NodeId
from propolis.terms.policy import PolicyOrder, SignedPolicy


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a new policy: why it is refused, or what to write and to judge by from now on."""

    reason: str = ""
    writes: tuple[Write, ...] = ()
    rules: Rules | None = None


class Mandate:
    """What the operator wants machines to be judged by; the default until it says something."""

    def __init__(self) -> None:
        self.rules = Rules(DEFAULT)
        self.signed: SignedPolicy | None = None
        self._order: PolicyOrder | None = None

    def restore(self, rows: Rows) -> None:
        """Take what is stored. Raises MalformedMessage, ConfigError."""
        row = rows.get(policies.TABLE, policies.ROW)
        if row is not None:
            self.signed = codec.decode(row, SignedPolicy)
            self._order = codec.decode(self.signed.data, PolicyOrder)
            self.rules = Rules(policies.told(self._order))

    def set(self, operator: NodeId, signed: SignedPolicy) -> Change:
        """Take the operator's newer policy; `operator` was checked to be it."""
        try:
            order = policies.opened(signed, operator)
            rules = Rules(policies.told(order))
        except (SealBroken, MalformedMessage, ConfigError) as error:
            return Change(reason=f"this is no policy of the operator's: {error}"[:500])
        if self._order is not None and order.number <= self._order.number:
            return Change(reason="a newer policy is here already")
        self._order, self.signed, self.rules = order, signed, rules
        return Change(writes=(Put(policies.TABLE, policies.ROW, codec.encode(signed)),), rules=rules)
