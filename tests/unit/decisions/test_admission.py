"""Who may run what: every refusal has a reason, nothing is weakened, the safe word is the default."""

import numpy as np
import pytest

from propolis.adapters.solver.greedy import GreedySolver
from propolis.decisions import admission, placement, privacy
from propolis.runtime.known import known_today
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import DataError, SolutionRejected
from propolis.terms.evidence import NOTHING
from propolis.terms.job import BlobRef, JobSpec, Kind, Needs
from propolis.terms.placement import Placement, Problem
from propolis.terms.requirement import Adversary, Asset, Demand, Level, Proof, Requirement

KNOWN = known_today()


def report(**kw):
    base = {
        "name": "n", "system": "linux", "machine": "x86_64", "python": "3.11", "slots": 2, "memory_mb": 2048,
        "speed": 1.0, "isolation": Isolation(rung=Rung.NAMESPACES), "packages": ("numpy==2.4.6",),
    }  # fmt: skip
    return CapabilityReport(**{**base, **kw})


def refusals(spec, report):
    return admission.refusals(spec, report, NOTHING, KNOWN)


def spec(word="trusted-lenders", *, kind=Kind.FUNCTION, **needs):
    return JobSpec(
        job=b"j" * 16, name="t", kind=kind, tasks=1, program=BlobRef(blob=b"b" * 32, size=1),
        requirement=privacy.requirement_for(word), needs=Needs(**needs),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "needs", "reason"),
    [
        ({}, {}, None),
        ({"slots": 0}, {}, "offers no slots"),
        ({"memory_mb": 512}, {}, "512 MB"),
        ({"isolation": Isolation(rung=Rung.BARE)}, {}, "co tenant"),
        ({"kinds": ("inference",)}, {}, "does not offer function"),
        ({}, {"packages": ("torch",)}, "package torch"),
        ({}, {"packages": ("numpy>=3",)}, "package numpy>=3"),
        ({}, {"packages": ("numpy>=2,<3",)}, None),
        ({}, {"packages": ("NumPy",)}, None),
        ({}, {"python": ">=3.12"}, "Python 3.11"),
        ({}, {"python": ">=3.9,<4"}, None),
    ],
)
def test_refusals(changes, needs, reason):
    reasons = refusals(spec(**needs), report(**changes))
    assert (reasons == []) if reason is None else any(reason in text for text in reasons)


@pytest.mark.parametrize("word", ["private", "measured", "stored"])
def test_what_demands_proof_is_refused_where_nothing_is_proven(word):
    assert refusals(spec(word), report())


def test_the_default_keeps_the_lender_out():
    demands = privacy.requirement_for(privacy.DEFAULT).demands
    assert any(d.adversary is Adversary.LENDER and d.level >= Level.HARDWARE for d in demands)


def test_an_unknown_word_is_refused_with_the_known_ones():
    with pytest.raises(DataError, match="trusted-lenders"):
        privacy.requirement_for("secret")


@pytest.mark.parametrize(
    ("kind", "rung", "accepts", "reason"),
    [
        (Kind.FUNCTION, Rung.NAMESPACES, Rung.NAMESPACES, None),
        (Kind.FUNCTION, Rung.FLAT, Rung.NAMESPACES, "anybody's code and runs under namespaces or more here"),
        (Kind.FUNCTION, Rung.FLAT, Rung.FLAT, None),
        (Kind.FUNCTION, Rung.BARE, Rung.FLAT, "under flat or more"),
        (Kind.INFERENCE, Rung.FLAT, Rung.NAMESPACES, None),
        (Kind.INFERENCE, Rung.BARE, Rung.NAMESPACES, "a model runs under flat"),
        (Kind.INFERENCE, Rung.BARE, Rung.BARE, None),
        (Kind.FUNCTION, Rung.BARE, Rung.BARE, None),
    ],
)
def test_anybodys_code_needs_namespaces_unless_its_lender_accepts_less(kind, rung, accepts, reason):
    job = spec(kind=kind)
    reasons = refusals(job, report(isolation=Isolation(rung=rung), functions_from=accepts))
    walls = [text for text in reasons if "or more here" in text]
    assert (walls == []) if reason is None else reason in walls[0]
    assert rung is Rung.BARE or reasons == walls, "nothing else is in the way"


def test_a_demand_beyond_all_technology_can_never_run():
    never = Requirement(
        keyword="x", demands=(Demand(asset=Asset.DATA_IN_USE, adversary=Adversary.LABORATORY, least=Proof()),)
    )
    job = JobSpec(
        job=b"j" * 16, name="t", kind=Kind.FUNCTION, tasks=1, program=BlobRef(blob=b"b" * 32, size=1), requirement=never
    )
    assert "no technology" in admission.never(job, KNOWN.table)[0]
    assert admission.never(spec("private"), KNOWN.table) == []


def test_an_empty_requirement_is_refused():
    empty = JobSpec(
        job=b"j" * 16, name="t", kind=Kind.FUNCTION, tasks=1, program=BlobRef(blob=b"b" * 32, size=1),
        requirement=Requirement(keyword="x", demands=()),
    )  # fmt: skip
    assert admission.never(empty, KNOWN.table)


@pytest.mark.parametrize("text", ["numpy; import os", "../x", "numpy @ file", ""])
def test_requirements_that_are_no_names_can_never_run(text):
    assert admission.never(spec(packages=(text,)), KNOWN.table)


def problem(wanted, free, allowed=None, speed=None, survival=None):
    wanted, free = np.array(wanted), np.array(free)
    shape = (len(wanted), len(free))
    return Problem(
        jobs=tuple(bytes([j]) * 16 for j in range(shape[0])),
        nodes=tuple(bytes([n]) * 32 for n in range(shape[1])),
        wanted=wanted, free=free,
        speed=np.array(speed or [1.0] * shape[1]), survival=np.array(survival or [1.0] * shape[1]),
        allowed=np.ones(shape, bool) if allowed is None else np.array(allowed, bool),
    )  # fmt: skip


def test_greedy_prefers_fast_nodes_and_shares_between_jobs():
    one = GreedySolver().solve(problem([3], [2, 2], speed=[1.0, 5.0])).guests
    assert one.tolist() == [[1, 2]]
    likely = GreedySolver().solve(problem([3], [2, 2], speed=[5.0, 4.0], survival=[0.5, 1.0])).guests
    assert likely.tolist() == [[1, 2]], "who is likely to stay comes before who is fast and likely to go"
    two = GreedySolver().solve(problem([10, 10], [2, 2])).guests
    assert two.sum(axis=1).tolist() == [2, 2]


def test_greedy_never_leaves_the_allowed_pairs():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = problem(rng.integers(0, 9, 6), rng.integers(0, 4, 9), rng.random((6, 9)) < 0.4)
        placement.check(p, GreedySolver().solve(p))


@pytest.mark.parametrize(
    ("guests", "why"),
    [
        ([[1, 0]], "not admitted"),
        ([[0, 3]], "free slots"),
        ([[0, -1]], "negative"),
        ([[0, 2]], "can use"),
        ([[0]], "shape"),
        ([[0.0, 0.5]], "whole numbers"),
    ],
)
def test_a_wrong_answer_is_refused(guests, why):
    p = problem([1], [2, 2], [[False, True]])
    with pytest.raises(SolutionRejected, match=why):
        placement.check(p, Placement(guests=np.array(guests)))


def test_an_answer_that_is_no_array_is_refused():
    with pytest.raises(SolutionRejected, match="whole numbers"):
        placement.check(problem([1], [2, 2]), Placement(guests=[[0, 1]]))
