"""What a placement really guarantees, and what nothing known ever could: a pure function of a table and of what is proven.

The table is data (data/guarantees.toml), handed in as bytes by the assemblies. Its rows hold under one condition each:
`bits` is cryptography between owner and guest and holds everywhere; `refused` is measured isolation and holds from a rung
on; `claims` is hardware and holds only where all of them are proven. A known break takes rows away, a cap bounds all.
Notes are for people: what protects partly, or would once it is built. No level ever follows from a note, nor from a
technology's being detected.
"""

from typing import Annotated, Literal

import msgspec

from propolis.decisions.weaknesses import Weaknesses
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import ConfigError
from propolis.terms.evidence import Proven
from propolis.terms.finding import FactName
from propolis.terms.requirement import (
    Adversary,
    Asset,
    Claim,
    Day,
    Demand,
    Empirical,
    Guarantee,
    Guarantees,
    Hardware,
    Level,
    Proof,
    Strength,
    level_of,
)

MOST_REMEMBERED = 1024

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
Assets = Annotated[tuple[Asset, ...], msgspec.Meta(max_length=5)]
Against = Annotated[tuple[Adversary, ...], msgspec.Meta(min_length=1, max_length=7)]
Claims = Annotated[tuple[Claim, ...], msgspec.Meta(max_length=16)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every entry says: why, who says so, since when."""

    because: Text
    source: Text
    date: Day


class Row(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A technology gives this strength to each asset against each adversary listed. One of bits, refused, claims."""

    technology: Claim
    assets: Assets
    against: Against
    bits: Annotated[float, msgspec.Meta(gt=0, le=4096)] | None = None
    refused: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    rung: Rung = Rung.BARE  # `refused` holds from this rung on
    claims: Claims = ()

    @property
    def strength(self) -> Strength:
        """The strength given."""
        if self.claims:
            return Hardware(claims=self.claims)
        return Proof(bits=self.bits) if self.bits else Empirical(value=self.refused or 0.0, date=self.date)


class Broken(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From adversary `by` on, the technology gives nothing to `assets` (none named: all), unless a proven claim fixes it."""

    technology: Claim
    by: Adversary
    assets: Assets = ()
    unless: Claims = ()


class Cap(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing known gives these assets more than `most` against these adversaries."""

    assets: Assets
    against: Against
    most: Literal["none", "empirical", "hardware"]


class Technology(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What people call a technology, by which facts a probe detects it, and what it takes to prove it.

    Detected when any of `facts` is, or, with `every`, when all are. No facts: nothing to detect, it is ours.
    """

    name: Claim
    title: Text
    facts: Annotated[tuple[FactName, ...], msgspec.Meta(max_length=8)] = ()
    every: bool = False
    spoilt_by: Annotated[tuple[FactName, ...], msgspec.Meta(max_length=8)] = ()  # found, it is not worth proving
    raises: Text


class Note(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a technology does for these assets that no level follows from: in part, or only once it is built."""

    technology: Claim
    degree: Literal["partly", "unbuilt"]
    assets: Assets
    against: Against


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is known, as of `date`."""

    date: Day
    row: Annotated[tuple[Row, ...], msgspec.Meta(max_length=1000)] = ()
    broken: Annotated[tuple[Broken, ...], msgspec.Meta(max_length=1000)] = ()
    cap: Annotated[tuple[Cap, ...], msgspec.Meta(max_length=1000)] = ()
    technology: Annotated[tuple[Technology, ...], msgspec.Meta(max_length=200)] = ()
    note: Annotated[tuple[Note, ...], msgspec.Meta(max_length=1000)] = ()


class Known:
    """What verdicts rest on beside the machine: the table, and the day it is read on. Remembers what follows."""

    __slots__ = ("_given", "date", "table", "weaknesses")

    def __init__(self, *, table: Table, date: Day, weaknesses: Weaknesses | None = None) -> None:
        """`weaknesses`: TPMs known to be bad; without that list no firmware counts as sound."""
        self.table = table
        self.date = date
        self.weaknesses = weaknesses
        self._given: dict[tuple[Isolation, Proven], Guarantees] = {}

    def given(self, isolation: Isolation, proven: Proven) -> Guarantees:
        """Return `guarantees` for the pair; not to be changed."""
        found = self._given.get((isolation, proven))
        if found is None:
            if len(self._given) >= MOST_REMEMBERED:
                self._given.clear()
            found = self._given[isolation, proven] = guarantees(isolation, proven, self.table, self.date)
        return found


def read_table(data: bytes) -> Table:
    """Return the table in TOML bytes. Raises ConfigError: a table that is not understood credits nothing and hides nothing."""
    try:
        table = msgspec.toml.decode(data, type=Table)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"the table of guarantees: {error}") from error
    named = [each.name for each in table.technology]
    if len(set(named)) != len(named):
        raise ConfigError("the table of guarantees: a technology is described twice")
    known = {row.technology for row in table.row} | set(named)
    for row in table.row:
        if (row.bits is not None) + (row.refused is not None) + bool(row.claims) != 1:
            raise ConfigError(f"the table of guarantees: {row.technology} needs one of bits, refused, claims")
        if (row.refused is not None) != (row.rung > Rung.BARE):
            raise ConfigError(f"the table of guarantees: {row.technology}: a rung is what `refused` was measured on")
    told = [(each.technology, "is broken") for each in table.broken]
    told += [(each.technology, "has a note") for each in table.note]
    for technology, what in told:
        if technology not in known:  # a misspelt advisory must not pass for one that is heeded
            raise ConfigError(f"the table of guarantees: {technology} {what}, but there is no such technology")
    return table


def guarantees(isolation: Isolation, proven: Proven, table: Table, date: Day) -> Guarantees:
    """Return what a guest under `isolation` gives on `date`, on a machine of which `proven` is proven."""
    given: dict[tuple[Asset, Adversary], tuple[Guarantee, ...]] = {}
    for row in table.row:
        shown = _shown(row.technology, proven, date)
        if row.date > date or not _holds(
            row, isolation, shown
        ):  # a row from the future: our clock is wrong, trust less
            continue
        gives = Guarantee(strength=row.strength, because=_because(row, proven))
        for asset in row.assets:
            for adversary in row.against:
                pair = asset, adversary
                if gives.level <= most(pair, table) and not _is_broken(row.technology, pair, shown, table):
                    given[pair] = (*given.get(pair, ()), gives)
    return given


def most(pair: tuple[Asset, Adversary], table: Table) -> Level:
    """Return the most that any technology we know could give."""
    caps = [Level[cap.most.upper()] for cap in table.cap if pair[0] in cap.assets and pair[1] in cap.against]
    return min(caps, default=Level.PROOF)


def potential(technology: str, table: Table) -> dict[tuple[Asset, Adversary], Level]:
    """Return the most a technology could give if all was proven that it asks for. For people: it admits nobody to anything."""
    could: dict[tuple[Asset, Adversary], Level] = {}
    for row in table.row:
        for asset in row.assets if row.technology == technology else ():
            for adversary in row.against:
                pair, level = (asset, adversary), level_of(row.strength)
                if level <= most(pair, table) and not _is_broken(technology, pair, None, table):
                    could[pair] = max(level, could.get(pair, Level.NONE))
    return could


def beyond_reach(demand: Demand, table: Table) -> bool:
    """Return whether no technology we know could ever meet the demand."""
    return demand.level > most((demand.asset, demand.adversary), table)


def unmet(demands: tuple[Demand, ...], given: Guarantees) -> list[Demand]:
    """Return the demands that `given` does not meet."""
    return [demand for demand in demands if not demand.met_by(given)]


def nearest(demand: Demand, proven: Proven, table: Table, date: Day) -> tuple[str, tuple[Claim, ...]] | None:
    """Return which technology, of which something is proven, is nearest to meet a demand for hardware, and the claims it lacks.

    None where no hardware could meet it, or nothing is proven of any that could.
    """
    pair, found = (demand.asset, demand.adversary), []
    for place, row in enumerate(table.row):
        shown = _shown(row.technology, proven, date)
        if not row.claims or not shown or pair[0] not in row.assets or pair[1] not in row.against:
            continue
        mended = {claim for each in _breaks(row.technology, pair, table) for claim in each.unless}
        lacks = tuple(sorted({*row.claims, *mended} - shown))
        if lacks and not any(not each.unless for each in _breaks(row.technology, pair, table)):
            found.append((len(lacks), place, row.technology, lacks))
    return min(found)[2:] if found and demand.level is Level.HARDWARE else None


def _shown(technology: str, proven: Proven, date: Day) -> frozenset[str]:
    """Return what is proven of a technology and has not expired."""
    return frozenset(
        claim for each in proven if each.technology == technology and each.until >= date for claim in each.claims
    )


def _because(row: Row, proven: Proven) -> str:
    """Return why, and first of all whether it is a rehearsal."""
    rehearsed = row.claims and any(each.emulated for each in proven if each.technology == row.technology)
    return f"EMULATED TPM, a rehearsal: {row.because}"[:300] if rehearsed else row.because


def _holds(row: Row, isolation: Isolation, shown: frozenset[str]) -> bool:
    if row.claims:
        return shown.issuperset(row.claims)
    return row.refused is None or isolation.rung >= row.rung


def _is_broken(technology: str, pair: tuple[Asset, Adversary], shown: frozenset[str] | None, table: Table) -> bool:
    """Return whether a known break reaches; advisories count whatever our clock says. `shown` None: supposing every fix."""
    return any(
        not (broken.unless and (shown is None or shown.issuperset(broken.unless)))
        for broken in _breaks(technology, pair, table)
    )


def _breaks(technology: str, pair: tuple[Asset, Adversary], table: Table) -> list[Broken]:
    """Return the known breaks of a technology that reach."""
    asset, adversary = pair
    return [
        broken
        for broken in table.broken
        if broken.technology == technology
        and adversary.reached(broken.by)
        and (not broken.assets or asset in broken.assets)
    ]
