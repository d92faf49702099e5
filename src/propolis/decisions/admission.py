"""May this job run on this machine, may this guest have the key? Yes, or every reason why not. Never a weaker yes."""

import re

from propolis.decisions import guarantees
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.job import JobSpec
from propolis.terms.requirement import Requirement

MOST_MEMORY_MB = 1_048_576
_PIN = re.compile(
    r"^\s*([A-Za-z0-9._-]+)\s*((?:==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*(?:\s*,\s*(?:==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*)*)?\s*$"
)


def never(spec: JobSpec) -> list[str]:
    """Return why the job can never run anywhere; empty when it may wait for a machine."""
    reasons = [
        f"no technology known could give {demand}"
        for demand in spec.requirement.demands
        if guarantees.beyond_reach(demand)
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


def lacking(requirement: Requirement, isolation: Isolation) -> list[str]:
    """Return what a guest under `isolation` lacks of the requirement."""
    return [
        f"nothing here proves {demand}"
        for demand in guarantees.unmet(requirement.demands, guarantees.guarantees(isolation))
    ]


def refusals(spec: JobSpec, report: CapabilityReport) -> list[str]:
    """Return every reason why this machine does not run the job; empty means admitted."""
    reasons = lacking(spec.requirement, report.isolation)
    if report.isolation.rung is Rung.BARE and spec.kind not in report.kinds:
        reasons.append("it offers no isolation")
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


def _clauses(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"(==|>=|<=|!=|<|>)\s*([0-9][0-9A-Za-z.]*)", text)
    rest = re.sub(r"(==|>=|<=|!=|<|>)\s*[0-9][0-9A-Za-z.]*|[\s,]", "", text)
    return [] if rest else found


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
