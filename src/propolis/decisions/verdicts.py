"""Admission's verdicts, remembered: the same answers as decisions/admission, asked once per kind of job and of machine.

A memo of a pure function, owned by whoever asks many times (the dispatcher's desk). Its memory is bounded; what is dropped
is worked out again. Numbers stand for reasons: 0 = admitted, any other has the reasons it stands for.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import msgspec
import numpy as np

from propolis.decisions import admission
from propolis.decisions.guarantees import Known
from propolis.terms.capability import CapabilityReport
from propolis.terms.evidence import Proven
from propolis.terms.job import JobSpec
from propolis.terms.placement import Ints

UNKNOWN = -1
KEPT_REASONS, KEPT_LETTERS = 4, 200

Machine = tuple[CapabilityReport, Proven]


class Verdicts:
    """Verdicts of (kind, needs, requirement) x (report without name, speed and findings, what is proven)."""

    def __init__(
        self, known: Known, *, most_pairs: int = 4_000_000, most_reasons: int = 65_536, spare: int = 4096
    ) -> None:
        """`most_pairs` numbers of 4 bytes; `most_reasons` distinct sets of reasons of at most 1 kB.

        Machines kept: three times the biggest fleet asked about, and `spare`; more only come by reports that keep changing.
        """
        self.known = known
        self._most_pairs = most_pairs
        self._most_reasons = most_reasons
        self._spare = spare
        self._fleet = 0
        self._forget()

    def _forget(self) -> None:
        self._machines: dict[Machine, int] = {}
        self._seen: list[Machine] = []
        self._rows: dict[Hashable, Ints] = {}
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self._reasons: list[tuple[str, ...]] = [()]

    def ids(self, machines: Sequence[Machine]) -> Ints:
        """Return a number for each machine, alike where verdicts must be; good until the next call."""
        self._fleet = max(self._fleet, len(machines))
        if len(self._seen) + len(machines) > 3 * self._fleet + self._spare:
            self._forget()
        found = np.empty(len(machines), dtype=np.int64)
        for place, (report, proven) in enumerate(machines):
            key = msgspec.structs.replace(report, name="", speed=0.0, found=()), proven
            number = self._machines.get(key)
            if number is None:
                number = self._machines[key] = len(self._seen)
                self._seen.append(key)
            found[place] = number
        return found

    def row(self, spec: JobSpec, ids: Ints) -> Ints:
        """Return the number of each machine's reasons to refuse the job; 0 = it runs it."""
        if len(self._numbers) > self._most_reasons:
            self._rows, self._numbers, self._reasons = {}, {(): 0}, [()]
        question = spec.kind, spec.needs, spec.requirement
        row = self._rows.pop(question, None)
        if row is None:
            row = np.empty(0, dtype=np.int32)
        if len(row) < len(self._seen):
            row = np.concatenate([row, np.full(len(self._seen) - len(row), UNKNOWN, dtype=np.int32)])
        for number in np.unique(ids[row[ids] == UNKNOWN]):
            report, proven = self._seen[number]
            row[number] = self._number(admission.refusals(spec, report, proven, self.known))
        while self._rows and (len(self._rows) + 1) * len(row) > self._most_pairs:
            del self._rows[next(iter(self._rows))]  # the one not asked for longest
        self._rows[question] = row
        return row[ids]

    def common(self, numbers: Ints) -> Counter[str]:
        """Return how many of the machines behind these numbers have which reason."""
        counted: Counter[str] = Counter()
        for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
            for reason in self._reasons[number]:
                counted[reason] += int(count)
        return counted

    def _number(self, reasons: list[str]) -> int:
        kept = tuple(reason[:KEPT_LETTERS] for reason in reasons[:KEPT_REASONS])
        number = self._numbers.setdefault(kept, len(self._reasons))
        if number == len(self._reasons):
            self._reasons.append(kept)
        return number
