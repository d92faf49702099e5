"""What follows from a recording: facts a machine tells of itself, and where they contradict each other.

Self-told, and worth nothing against the machine's owner: a fact is no `terms.evidence.Attested`, has no way to become one,
and no function of this house takes one for the other.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from propolis.terms.recording import Moment

MOST_FACTS = 128
MOST_CONTRADICTIONS = 64

FactName = Annotated[str, msgspec.Meta(pattern="^[a-z]+\\.[a-z0-9-]+$", max_length=40)]
"""subject.thing: "tpm.chip"."""

Words = Annotated[str, msgspec.Meta(max_length=300)]


class State(StrEnum):
    """How far a thing is there, for this user. `unknown` lies on no ladder: it is what may not be concluded."""

    UNKNOWN = "unknown"  # not asked, denied, late, contradicted, or hidden by a container
    ABSENT = "absent"  # looked for where it would be, and not there
    PRESENT = "present"  # there; not switched on, or not shown to be
    ENABLED = "enabled"  # switched on; this user cannot use it, or there is nothing to use
    USABLE = "usable"  # this user can use it: found by doing


STEPS = {State.PRESENT: 1, State.ENABLED: 2, State.USABLE: 3}
"""How much a state claims; what claims nothing is 0."""


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing found, or not."""

    name: FactName
    state: State
    value: Words = ""  # a model, a version, a size; never a serial number
    how: Words = ""  # where it was looked for, and what was in the way
    when: Moment
    more: Words = ""  # what root or another setting would add

    @property
    def found(self) -> bool:
        """Whether it is said to be there at all."""
        return self.state in STEPS


class Contradiction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two things a machine says that cannot both hold; `facts` are believed no further because of it."""

    facts: Annotated[tuple[FactName, ...], msgspec.Meta(max_length=16)]
    says: Words


class Findings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is found on one machine at one time; one fact for every name of the catalogue."""

    system: Annotated[str, msgspec.Meta(max_length=40)]
    when: Moment
    facts: Annotated[tuple[Fact, ...], msgspec.Meta(max_length=MOST_FACTS)]
    contradictions: Annotated[tuple[Contradiction, ...], msgspec.Meta(max_length=MOST_CONTRADICTIONS)] = ()

    def fact(self, name: str) -> Fact:
        """Return a fact; one that nobody looked for is unknown."""
        for each in self.facts:
            if each.name == name:
                return each
        return Fact(name=name, state=State.UNKNOWN, how="not looked for", when=self.when)
