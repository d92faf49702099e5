"""What a job demands and what a machine gives: (asset, adversary) -> guarantee. each with its strength."""

from enum import IntEnum, StrEnum
from typing import Annotated

import msgspec


class Asset(StrEnum):
    """What is worth protecting."""

    DATA_IN_USE = "data-in-use"
    STORED_DATA = "stored-data"
    MODEL = "model"
    RESULT_INTEGRITY = "result-integrity"
    KEYS = "keys"


class Adversary(IntEnum):
    """Who attacks, weakest first up to the laboratory. A guarantee against one says nothing about the next.

    A0 to A5 meet a machine that runs; the thief (docs/adr/0020) meets one that is switched off, and its owner is honest.
    """

    NETWORK = 0  # on the path, or the orchestrator that passes ciphertext on
    CO_TENANT = 1  # another job on the same machine
    MALWARE = 2  # root malware on a machine whose owner is honest
    LENDER = 3  # the machine's owner, with root
    CHEAP_PHYSICAL = 4  # the owner with a soldering iron
    LABORATORY = 5  # the owner with a laboratory
    THIEF = 6  # took the machine switched off, or its disk; none of the others

    @property
    def label(self) -> str:
        """The short name used in tables: A0 to A5, and T for the thief."""
        return "T" if self is Adversary.THIEF else f"A{int(self)}"

    def reached(self, by: "Adversary") -> bool:
        """Return whether a break that `by` can do is this one's to do as well.

        The ladder is one of means. The thief stands beside it: a break from the network on makes evidence worthless, and with it
        what he would be kept from; all others take a machine that runs.
        """
        if self is Adversary.THIEF:
            return by in (Adversary.NETWORK, Adversary.THIEF)
        return by is not Adversary.THIEF and self >= by


class Level(IntEnum):
    """How strong a guarantee is, weakest first. Derived from its strength, never stated beside it."""

    NONE = 0
    EMPIRICAL = 1  # tested, dated, may break tomorrow (a sandbox, a masking heuristic)
    HARDWARE = 2  # rests on attested claims of a chip
    PROOF = 3  # rests on a proof or on cryptography alone


Day = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length=10)]
"""A day as in ISO 8601; days compare as text."""

Claim = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9.-]*$", min_length=1, max_length=60)]
"""The name of one thing a verifier concludes from evidence: "debug-off", "tcb-current"."""

Region = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]*$", max_length=40)]
"""A place, coarse to fine: "eu", "eu-fr". Empty = not stated."""

ANY_DAY = "0000-01-01"


class Empirical(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="empirical"
):
    """Measured: `value` = share of the attacks tried that were refused, 0 to 1; `date` = when."""

    value: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    date: Day = ANY_DAY


class Hardware(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="hardware"):
    """Rests on these claims, each proven by evidence that was verified."""

    claims: Annotated[tuple[Claim, ...], msgspec.Meta(max_length=16)] = ()


class Proof(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="proof"):
    """Rests on mathematics: it fails once in 2**bits, or breaking it takes 2**bits steps."""

    bits: Annotated[float, msgspec.Meta(gt=0, le=4096)] = 128.0


Strength = Empirical | Hardware | Proof

SOUND_BITS = 30.0
"""A proof that fails more often than once in 2**30 stands in for nothing but a weaker proof."""


def level_of(strength: Strength | None) -> Level:
    """Return the level of a strength; None = none."""
    match strength:
        case Empirical():
            return Level.EMPIRICAL
        case Hardware():
            return Level.HARDWARE
        case Proof():
            return Level.PROOF
        case None:
            return Level.NONE


def suffices(given: Strength | None, least: Strength) -> bool:
    """Return whether `given` is at least `least`: the same kind and no weaker, or a stronger kind."""
    match given, least:
        case Proof(bits=have), Proof(bits=wanted):
            return have >= wanted
        case Hardware(claims=have), Hardware(claims=wanted):
            return set(wanted) <= set(have)
        case Empirical(value=have, date=day), Empirical(value=wanted, date=since):
            return have >= wanted and day >= since
        case Proof(bits=have), _:
            return have >= SOUND_BITS
        case _:
            return level_of(given) > level_of(least)


class Guarantee(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What one technology gives to one (asset, adversary), and why, in words. `strength` None = nothing."""

    strength: Strength | None
    because: Annotated[str, msgspec.Meta(max_length=300)]

    @property
    def level(self) -> Level:
        """Its level."""
        return level_of(self.strength)


Guarantees = dict[tuple[Asset, Adversary], tuple[Guarantee, ...]]
"""What one placement gives, everything that holds. A missing pair means none."""


class Demand(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One line of a requirement: this asset, against this adversary, at least this strength.

    A demand that names no strength demands a proof of 128 bits; one that names a kind only gets the kind's strict default.
    """

    asset: Asset
    adversary: Adversary
    least: Strength = Proof()

    @property
    def level(self) -> Level:
        """The level demanded."""
        return level_of(self.least)

    def met_by(self, given: Guarantees) -> bool:
        """Return whether any one guarantee of `given` meets it."""
        return any(suffices(each.strength, self.least) for each in given.get((self.asset, self.adversary), ()))

    def __str__(self) -> str:
        """Return it as a person would say it."""
        who = f"{self.adversary.label} {self.adversary.name.lower().replace('_', ' ')}"
        return f"{self.asset} against {who}: {_words(self.least)}"


def _words(least: Strength) -> str:
    """Return the kind, and what is asked beyond its default."""
    match least:
        case Proof(bits=bits):
            return "proof" if bits == Proof().bits else f"proof of {bits:g} bits"
        case Hardware(claims=claims):
            return f"hardware with {', '.join(claims)}" if claims else "hardware"
        case Empirical(value=value, date=date):
            share = "" if value == 1 else f" {value:.0%} refused"
            return f"empirical{share}{'' if date == ANY_DAY else f' since {date}'}"


class Requirement(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """All a job demands; every line is a floor, and what nobody offers is not met.

    `keyword` is what the owner typed, for display only. `deadline` in seconds from acceptance to the last result; `region`
    contains the node's; `cost` = the most the owner pays per guest and hour, in the fleet's unit of account.
    """

    keyword: Annotated[str, msgspec.Meta(max_length=40)]
    demands: Annotated[tuple[Demand, ...], msgspec.Meta(max_length=32)]
    deadline: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    region: Region = ""
    cost: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
