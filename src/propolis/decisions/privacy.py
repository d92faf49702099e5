"""The privacy keyword: one word an owner types, and the demands behind it. The default is the safe one.

A keyword names who is kept away from the data. `private` keeps everyone away, the machine's owner included, so it waits
until a machine can prove something. Weaker words exist and say in their name what the owner accepts. Nothing here is
ever chosen for an owner.
"""

from collections.abc import Mapping

from propolis.terms.errors import DataError
from propolis.terms.requirement import Adversary, Asset, Demand, Empirical, Hardware, Proof, Requirement, Strength

DEFAULT = "private"


PROOF, HARDWARE, EMPIRICAL = Proof(), Hardware(), Empirical()
"""128 bits; attested hardware, whichever claims the table asks for; every attack tried was refused."""


def _against(least: Strength, asset: Asset, *adversaries: Adversary) -> tuple[Demand, ...]:
    return tuple(Demand(asset=asset, adversary=adversary, least=least) for adversary in adversaries)


_CARRIED = (
    *_against(PROOF, Asset.DATA_IN_USE, Adversary.NETWORK),
    *_against(PROOF, Asset.MODEL, Adversary.NETWORK),
    *_against(PROOF, Asset.KEYS, Adversary.NETWORK),
    *_against(EMPIRICAL, Asset.DATA_IN_USE, Adversary.CO_TENANT),
    *_against(EMPIRICAL, Asset.MODEL, Adversary.CO_TENANT),
)

KEYWORDS: Mapping[str, tuple[str, tuple[Demand, ...]]] = {
    "private": (
        "nobody but you: not the network, not the orchestrator, not the machine's owner",
        (
            *_CARRIED,
            *_against(HARDWARE, Asset.DATA_IN_USE, Adversary.MALWARE, Adversary.LENDER),
            *_against(HARDWARE, Asset.MODEL, Adversary.MALWARE, Adversary.LENDER),
        ),
    ),
    "measured": (
        "runs only where the machine proves the software it booted; its owner could still look",
        (*_CARRIED, *_against(HARDWARE, Asset.RESULT_INTEGRITY, Adversary.MALWARE)),
    ),
    "stored": (
        "what the machine keeps is safe from whoever steals it switched off, or its disk; its owner could still look",
        (*_CARRIED, *_against(HARDWARE, Asset.STORED_DATA, Adversary.THIEF)),
    ),
    "trusted-lenders": (
        "hidden from the network, the orchestrator and other jobs; the owner of a machine that runs it could look",
        _CARRIED,
    ),
}


def requirement_for(privacy: str | Requirement) -> Requirement:
    """Return the requirement behind a keyword, or the given one. Raises DataError naming the words there are."""
    if isinstance(privacy, Requirement):
        return privacy
    known = KEYWORDS.get(privacy)
    if known is None:
        raise DataError(f"unknown privacy {privacy!r}; one of: {', '.join(KEYWORDS)}")
    return Requirement(keyword=privacy, demands=known[1])
