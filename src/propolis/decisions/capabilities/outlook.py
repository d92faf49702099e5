"""What a machine may hope for: each technology, how far it is detected, what is proven, what follows, what would raise it.

Two things stand side by side here and never touch: findings, the machine's own word, from which nothing follows; and what a
verifier proved, handed in by the caller, from which alone levels follow (decisions/guarantees). Step 5 of
docs/specs/capabilities.md.
"""

import msgspec

from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.look import best
from propolis.decisions.guarantees import Broken, Note, Table, Technology, guarantees, most, potential
from propolis.terms.capability import Isolation, Rung
from propolis.terms.evidence import Proven
from propolis.terms.finding import Contradiction, Fact, Findings, State
from propolis.terms.requirement import Adversary, Asset, Claim, Day, Level

ANOTHER = "another one, of which that is not so"
OURS = ("sealing",)  # there is nothing to detect: it comes with the program


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A level for one asset against one adversary."""

    asset: Asset
    adversary: Adversary
    level: Level


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One technology on this machine."""

    technology: Claim
    title: str
    state: State  # detected, in the machine's own word
    value: str
    proven: tuple[Claim, ...]  # claims a verifier concluded, that have not expired
    emulated: bool  # of an emulated TPM: shown as such, and no level follows
    gives: tuple[Cell, ...]  # what follows now
    could: tuple[Cell, ...]  # what would follow if all was proven that it asks for
    partly: tuple[Note, ...]
    breaks: tuple[str, ...]
    spoilt: str  # why it is not worth proving here; "" when it is
    raises: str  # "" when nothing is left to raise


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, on one day."""

    date: Day
    rung: Rung
    guest: bool  # a virtual machine: what is detected is its host's word
    now: tuple[Cell, ...]  # every asset against every adversary
    lines: tuple[Line, ...]
    facts: tuple[Fact, ...]
    contradictions: tuple[Contradiction, ...]

    def level(self, asset: Asset, adversary: Adversary) -> Level:
        """Return what holds now."""
        return max((c.level for c in self.now if (c.asset, c.adversary) == (asset, adversary)), default=Level.NONE)


def outlook(findings: Findings, isolation: Isolation, proven: Proven, table: Table, date: Day) -> Outlook:
    """Return what this machine is worth on `date`. `isolation`: reached by doing; `proven`: by a verifier, else NOTHING.

    What an emulated TPM proves stands beside the technology, labelled, and raises no level.
    """
    rehearsed = tuple(each for each in proven if each.emulated)
    proven = tuple(each for each in proven if not each.emulated)
    lines = [_line(each, findings, isolation, proven, rehearsed, table, date) for each in table.technology]
    return Outlook(
        date=date,
        rung=isolation.rung,
        guest=findings.fact("virtual.guest").state is not State.ABSENT,
        now=_cells(isolation, proven, table, date, zeros=True),
        lines=tuple(lines),
        facts=findings.facts,
        contradictions=findings.contradictions,
    )


def _line(
    each: Technology, findings: Findings, isolation: Isolation, proven: Proven, rehearsed: Proven, table: Table, date: Day
) -> Line:  # fmt: skip
    state, value = _detected(each, findings, isolation)
    alone = msgspec.structs.replace(table, row=tuple(row for row in table.row if row.technology == each.name))
    spoilers = [findings.fact(name) for name in each.spoilt_by if findings.fact(name).found]
    spoilt = "; ".join(f"{CATALOGUE[f.name]}{f': {f.value}' if f.value else ''}" for f in spoilers)
    raises = "; ".join(f.more or ANOTHER for f in spoilers) or each.raises
    could = (
        []
        if spoilt
        else [Cell(asset=a, adversary=b, level=level) for (a, b), level in sorted(potential(each.name, table).items())]
    )
    gives, notes = (
        _cells(isolation, proven, alone, date),
        tuple(note for note in table.note if note.technology == each.name),
    )
    whole = {(cell.asset, cell.adversary) for cell in could} <= {(cell.asset, cell.adversary) for cell in gives}
    claims, acted = _claims(each, proven, date), _claims(each, rehearsed, date)
    return Line(
        technology=each.name,
        title=each.title,
        state=state,
        value=value,
        proven=claims or acted,
        emulated=bool(acted) and not claims,
        gives=gives,
        could=tuple(could),
        partly=notes,
        breaks=tuple(_told(b) for b in table.broken if b.technology == each.name),
        spoilt=spoilt,
        raises="" if gives and whole and not notes else raises,
    )


def _claims(each: Technology, proven: Proven, date: Day) -> tuple[Claim, ...]:
    found = {claim for one in proven if one.technology == each.name and one.until >= date for claim in one.claims}
    return tuple(sorted(found))


def _told(broken: Broken) -> str:
    fix = f", unless it is proven: {', '.join(broken.unless)}" if broken.unless else ""
    return f"from {broken.by.label} on{fix}: {broken.because}"


def _detected(each: Technology, findings: Findings, isolation: Isolation) -> tuple[State, str]:
    if each.name in OURS:
        return State.USABLE, ""
    if each.name == "sandbox" and isolation.rung > Rung.BARE:
        return State.USABLE, f"{isolation.rung.name.lower()}, reached by doing"
    facts = [findings.fact(name) for name in each.facts]
    if not facts:
        return State.ABSENT, ""
    values = ", ".join(dict.fromkeys(fact.value for fact in facts if fact.found and fact.value))
    if each.every:
        return min((fact.state for fact in facts), key=_ORDER.index), values
    return best(fact.state for fact in facts), values


_ORDER = [State.ABSENT, State.UNKNOWN, State.PRESENT, State.ENABLED, State.USABLE]


def _cells(isolation: Isolation, proven: Proven, table: Table, date: Day, *, zeros: bool = False) -> tuple[Cell, ...]:
    given = guarantees(isolation, proven, table, date)
    pairs = [(asset, adversary) for asset in Asset for adversary in Adversary]
    cells = []
    for pair in pairs:
        level = max((each.level for each in given.get(pair, ())), default=Level.NONE)
        if level > Level.NONE or zeros:
            cells.append(Cell(asset=pair[0], adversary=pair[1], level=min(level, most(pair, table))))
    return tuple(cells)
