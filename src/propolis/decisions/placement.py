"""Placement as formulate -> solve -> check: facts become a Problem, a solver answers, the answer is checked before use.

What is allowed is decided by admission alone, remembered in verdicts.py, and folded into the problem's mask; a solver can
only choose among allowed pairs, and `check` refuses an answer that steps outside.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from propolis.decisions.verdicts import Verdicts
from propolis.terms.capability import CapabilityReport
from propolis.terms.errors import SolutionRejected
from propolis.terms.evidence import Proven
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import JobSpec
from propolis.terms.placement import Placement, Problem


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What placement knows of a node. `free` in guest slots; `survival` = chance to stay for the horizon."""

    node: NodeId
    report: CapabilityReport
    proven: Proven
    free: int
    survival: float


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What placement knows of a job. `wanted` = guests it can still use; `barred` = nodes it must not use now."""

    spec: JobSpec
    wanted: int
    barred: frozenset[NodeId]


def formulate(jobs: Sequence[JobFacts], nodes: Sequence[NodeFacts], verdicts: Verdicts) -> Problem:
    """Return the problem; what is allowed is what admission admits, on nodes with room that the job may use now."""
    machines = verdicts.ids([(n.report, n.proven) for n in nodes])
    column = {n.node: place for place, n in enumerate(nodes)}
    free = np.array([n.free for n in nodes], dtype=np.int64)
    allowed = np.zeros((len(jobs), len(nodes)), dtype=np.bool_)
    for row, job in enumerate(jobs):
        allowed[row] = (verdicts.row(job.spec, machines) == 0) & (free > 0)
        allowed[row, [column[node] for node in job.barred if node in column]] = False
    return Problem(
        jobs=tuple(JobId(job.spec.id) for job in jobs),
        nodes=tuple(n.node for n in nodes),
        wanted=np.array([job.wanted for job in jobs], dtype=np.int64),
        free=free,
        speed=np.array([n.report.speed for n in nodes], dtype=np.float64),
        survival=np.array([n.survival for n in nodes], dtype=np.float64),
        allowed=allowed,
    )


def check(problem: Problem, placement: Placement) -> None:
    """Raise SolutionRejected, naming the constraint, unless the placement is valid for the problem."""
    guests = placement.guests
    if not isinstance(guests, np.ndarray) or guests.dtype.kind != "i":  # a foreign solver's answer may be anything
        raise SolutionRejected("counts that are not whole numbers")
    if guests.shape != problem.allowed.shape:
        raise SolutionRejected(f"shape {guests.shape}, wanted {problem.allowed.shape}")
    if (guests < 0).any():
        raise SolutionRejected("negative counts")
    if (guests[~problem.allowed] != 0).any():
        raise SolutionRejected("a job is placed where it is not admitted")
    if (guests.sum(axis=0) > problem.free).any():
        raise SolutionRejected("a node is given more guests than it has free slots")
    if (guests.sum(axis=1) > problem.wanted).any():
        raise SolutionRejected("a job is given more guests than it can use")
