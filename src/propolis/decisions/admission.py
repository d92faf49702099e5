"""May this job run on this machine, may this guest have the key? Yes, or every reason why not. Never a weaker yes."""

import re
from functools import lru_cache

from propolis.decisions import guarantees
from propolis.decisions.guarantees import Known, Table
from propolis.terms.capability import CapabilityReport, Isolation, Offer, Rung
from propolis.terms.evidence import Proven
from propolis.terms.job import JobSpec, Kind
from propolis.terms.requirement import Demand, Requirement

_PIN = re.compile(
    r"^\s*([A-Za-z0-9._-]+)\s*((?:==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*(?:\s*,\s*(?:==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*)*)?\s*$"
)


def never(spec: JobSpec, table: Table) -> list[str]:
    """Return why the job can never run anywhere; empty when it may wait for a machine."""
    reasons = [
        f"no technology known could give {demand}"
        for demand in spec.requirement.demands
        if guarantees.beyond_reach(demand, table)
    ]
    reasons += [
        f"{text!r} is not a requirement of the form name or name>=1.2"
        for text in spec.needs.packages
        if not _PIN.match(text)
    ]
    if spec.needs.python and not _clauses(spec.needs.python):
        reasons.append(f"{spec.needs.python!r} is not a python requirement of the form >=3.11")
    if not spec.requirement.demands:
        reasons.append("a requirement without demands is refused: say what is to be protected")
    return reasons


def lacking(requirement: Requirement, isolation: Isolation, offer: Offer, proven: Proven, known: Known) -> list[str]:
    """Return what a guest under `isolation`, lent on the terms of `offer`, lacks of the requirement."""
    unmet = guarantees.unmet(requirement.demands, known.given(isolation, proven))
    reasons = [f"nothing here proves {demand}{_lacks(demand, proven, known)}" for demand in unmet]
    if unmet and known.date < known.table.date:
        reasons.append(f"the clock that judges says {known.date}, before the table of guarantees of {known.table.date}")
    return reasons + _off_terms(requirement, offer)


def _lacks(demand: Demand, proven: Proven, known: Known) -> str:
    """Return which claims the machine lacks, where it proved some."""
    found = guarantees.nearest(demand, proven, known.table, known.date)
    return f" ({found[0]} lacks {', '.join(found[1])})" if found is not None else ""


def _off_terms(requirement: Requirement, offer: Offer) -> list[str]:
    """Return which of region, cost and deadline are not met; what is not stated is not met."""
    reasons: list[str] = []
    region, most = requirement.region, requirement.cost
    if region and not f"{offer.region}-".startswith(f"{region}-"):
        where = f"its lender says {offer.region}" if offer.region else "its lender states no region"
        reasons.append(f"the job must stay in {region}, {where}")
    if most is not None and (offer.cost is None or offer.cost > most):
        price = "states no cost" if offer.cost is None else f"asks {offer.cost:g}"
        reasons.append(f"the job pays at most {most:g} per guest and hour, its lender {price}")
    if requirement.deadline is not None:  # no forecast exists yet that a machine could be held to
        reasons.append(f"the job must end within {requirement.deadline:g} s, and nobody here promises a time")
    return reasons


def refusals(spec: JobSpec, report: CapabilityReport, proven: Proven, known: Known) -> list[str]:
    """Return every reason why this machine does not run the job; empty means admitted.

    Of the spec it reads kind, needs and requirement, and nothing else: decisions/verdicts.py relies on that.
    """
    reasons = lacking(spec.requirement, report.isolation, report.offer, proven, known)
    reasons += _too_open(spec.kind, report)
    if spec.kind not in report.kinds:
        reasons.append(f"its lender does not offer {spec.kind} jobs")
    if report.slots == 0:
        reasons.append("its lender offers no slots")
    if spec.needs.memory_mb > report.memory_mb:
        reasons.append(f"it offers {report.memory_mb} MB to a guest, the job needs {spec.needs.memory_mb} MB")
    if spec.needs.python and not satisfies(report.python, spec.needs.python):
        reasons.append(f"it has Python {report.python}, the job needs {spec.needs.python}")
    reasons += [
        f"it does not offer the package {text}" for text in spec.needs.packages if not _offers(report.packages, text)
    ]
    return reasons


def _too_open(kind: Kind, report: CapabilityReport) -> list[str]:
    """Return why the machine is not walled enough for this kind of work (docs/adr/0010): a function is anybody's code."""
    rung = report.isolation.rung
    wanted = report.functions_from if kind is Kind.FUNCTION else min(report.functions_from, Rung.FLAT)
    if rung >= wanted:
        return []
    what = "a function is anybody's code and runs" if kind is Kind.FUNCTION else "a model runs"
    return [f"{what} under {wanted.name.lower()} or more here, this machine reaches {rung.name.lower()}"]


def satisfies(version: str, clauses: str) -> bool:
    """Return whether dotted `version` satisfies every clause like ">=1.2,<2". Unreadable means no."""
    parsed = _clauses(clauses)
    return bool(parsed) and all(_compare(version, sign, bound) for sign, bound in parsed)


def _offers(packages: tuple[str, ...], wanted: str) -> bool:
    match = _PIN.match(wanted)
    if match is None:
        return False
    name, clauses = match.group(1).lower().replace("_", "-"), match.group(2)
    for offered in packages:
        have, _, version = offered.partition("==")
        if have.lower().replace("_", "-") == name:
            return clauses is None or satisfies(version, clauses)
    return False


@lru_cache(maxsize=1024)
def _clauses(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"(==|>=|<=|!=|<|>)\s*([0-9][0-9A-Za-z.]*)", text)
    rest = re.sub(r"(==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*|[\s,]", "", text)
    return [] if rest else found


@lru_cache(maxsize=1024)
def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version.split("+", maxsplit=1)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _compare(version: str, sign: str, bound: str) -> bool:
    left, right = _numbers(version), _numbers(bound)
    return {
        "==": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }[sign]
