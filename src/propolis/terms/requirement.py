"""What a job demands and what a machine gives: (asset, adversary) -> guarantee. DESIGN section 2 has the words."""

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
    """Who attacks, weakest first. A guarantee against one says nothing about the next."""

    NETWORK = 0  # on the path, or the orchestrator that passes ciphertext on
    CO_TENANT = 1  # another job on the same machine
    MALWARE = 2  # root malware on a machine whose owner is honest
    LENDER = 3  # the machine's owner, with root
    CHEAP_PHYSICAL = 4  # the owner with a soldering iron; a thief with the disk
    LABORATORY = 5  # the owner with a laboratory

    @property
    def label(self) -> str:
        """The short name used in tables: A0 to A5."""
        return f"A{int(self)}"


class Level(IntEnum):
    """How strong a guarantee is, weakest first."""

    NONE = 0
    EMPIRICAL = 1  # tested, dated, may break tomorrow (a sandbox, a masking heuristic)
    HARDWARE = 2  # rests on attested claims of a chip
    PROOF = 3  # rests on a proof or on cryptography alone


class Guarantee(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A level with what it rests on, in words."""

    level: Level
    because: str


class Demand(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One line of a requirement: this asset, against this adversary, at least this level."""

    asset: Asset
    adversary: Adversary
    level: Level

    def __str__(self) -> str:
        """Return it as a person would say it."""
        who = f"{self.adversary.label} {self.adversary.name.lower().replace('_', ' ')}"
        return f"{self.asset} against {who}: {self.level.name.lower()}"


class Requirement(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """All demands of a job; every one is a floor. `keyword` is what the owner typed, for display only."""

    keyword: Annotated[str, msgspec.Meta(max_length=40)]
    demands: Annotated[tuple[Demand, ...], msgspec.Meta(max_length=32)]


Guarantees = dict[tuple[Asset, Adversary], Guarantee]
"""What one placement gives. A missing pair means none."""
