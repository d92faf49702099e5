"""The fleet's appraisal policy as an operator handles it: what is in force and by whose word, and one key more to vouch for."""

import re
from pathlib import Path

import msgspec

from propolis.decisions.appraisal import policy_text
from propolis.decisions.appraisal.policy import Policy
from propolis.messages.rows import NodeRow
from propolis.protocols.policies import told
from propolis.runtime import config
from propolis.terms.errors import ConfigError, DataError
from propolis.terms.identity import NodeId
from propolis.terms.policy import PolicyOrder

MAKERS = "propolis attest --identity on that machine prints the maker: --maker AMD, INTC, IFX, NTC, STM, ..."
_MAKER = re.compile("[A-Z0-9]{2,4}")


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """The policy in force, as far as this home has seen. `number` 0: nobody signed one, the default counts."""

    policy: Policy
    text: str
    number: int
    signed_by: bytes


def mandate(order: PolicyOrder | None, operator: NodeId) -> Mandate:
    """Return what an order says. Raises ConfigError: this release does not understand it."""
    if order is None:
        return Mandate(policy=told(None), text="", number=0, signed_by=b"")
    text = order.text.decode("utf-8", "replace")
    return Mandate(policy=told(order), text=text, number=order.number, signed_by=operator)


def encoded(policy: Policy | str | bytes) -> bytes:
    """Return a policy, or the text of one, as it is signed."""
    text = policy_text.write(policy) if isinstance(policy, Policy) else policy
    return text.encode() if isinstance(text, str) else text


def endorsement_key(row: NodeRow) -> str:
    """Return the Name of a node's endorsement key in hex. Raises DataError: the node was not shown to hold one."""
    if not row.ek:
        raise DataError(
            f"node {row.report.name!r} has not shown that it holds an endorsement key",
            hint="propolis nodes says below its table why nothing is proven of it",
        )
    return row.ek.hex()


def approved(policy: Policy, row: NodeRow, maker: str, note: str = "") -> tuple[Policy, str]:
    """Return the policy that vouches for a node's endorsement key too, and that key. Raises DataError, ConfigError."""
    ek = endorsement_key(row)
    if not maker:
        raise DataError("an endorsement key without a certificate does not say who made its TPM", hint=MAKERS)
    if not _MAKER.fullmatch(maker):
        raise DataError(f"{maker!r} is no maker's name: it has two to four capital letters or digits", hint=MAKERS)
    return policy_text.approve(policy, ek, maker, note or row.report.name), ek


def rehearse(home: Path, *, accept: bool) -> None:
    """Write down whether the owner of this home gives keys to emulated TPMs, where the operator's policy rehearses.

    A yes counts for processes that start after it, a no at once. Raises ConfigError: it belongs to no fleet.
    """
    path = home / "owner" / "fleet.json"
    known = config.read(path, config.FleetFile)
    if known is None:
        raise ConfigError(f"{path.parent} belongs to no fleet", hint="join one: propolis join INVITATION")
    if known.rehearsal != accept:
        config.write(path, msgspec.structs.replace(known, rehearsal=accept))
