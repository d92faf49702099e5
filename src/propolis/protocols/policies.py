"""A fleet's appraisal policy: its operator signs each under a number; whoever kept one takes only a newer one.

docs/specs/attestation.md, steps 19 and 20. The orchestrator passes it on and may hide it; it can make, change or roll back none.
"""

from propolis.crypto import identity
from propolis.crypto.credential import Sign
from propolis.decisions.appraisal import policy
from propolis.decisions.appraisal.policy import Policy
from propolis.messages import codec
from propolis.terms.errors import SealBroken
from propolis.terms.identity import NodeId
from propolis.terms.policy import PolicyOrder, SignedPolicy

POLICY = b"propolis/policy/1"
TABLE = "policy"  # the newest, in one row
ROW = b"policy"


def sign(sign_with: Sign, known: PolicyOrder | None, fleet: NodeId, text: bytes) -> SignedPolicy:
    """Return the next policy. Raises ConfigError when the text is none."""
    policy.read(text)
    number = known.number + 1 if known is not None else 1
    data = codec.encode(PolicyOrder(fleet=fleet, number=number, text=text))
    return SignedPolicy(data=data, signature=sign_with(POLICY, data))


def opened(signed: SignedPolicy, operator: NodeId, fleet: NodeId | None = None) -> PolicyOrder:
    """Return the order if the operator signed it, for this fleet where one is given. Raises SealBroken, MalformedMessage."""
    identity.verify(operator, POLICY, signed.data, signed.signature)
    found: PolicyOrder = codec.decode(signed.data, PolicyOrder)
    if fleet is not None and found.fleet != fleet:
        raise SealBroken("a policy of another fleet")
    return found


def told(order: PolicyOrder | None) -> Policy:
    """Return the policy of an order, the default where there is none. Raises ConfigError."""
    return policy.read(order.text) if order is not None else policy.DEFAULT
