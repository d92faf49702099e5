"""The memo says what admission says, in bounded memory, and is quick enough to plan a big fleet at every change."""

import random
import sys

import msgspec
import numpy as np
import pytest

from propolis.decisions import admission, placement
from propolis.decisions.privacy import requirement_for
from propolis.decisions.verdicts import Verdicts
from propolis.messages.rows import MAX_REASONS
from propolis.protocols.jobs import answers
from propolis.protocols.jobs.book import Job, Node
from propolis.protocols.jobs.desk import Desk, DispatcherConfig
from propolis.runtime.known import known_today
from propolis.terms.capability import CapabilityReport, Isolation, Offer, Rung
from propolis.terms.evidence import NOTHING
from propolis.terms.identity import NodeId
from propolis.terms.job import BlobRef, JobSpec, Kind, Needs

KNOWN = known_today()
OWNER = NodeId(b"o" * 32)


def report(dice, number):
    return CapabilityReport(
        name=f"n{number}", system="linux", machine="x86_64", python=dice.choice(["3.11.2", "3.12.1", "3.13.0"]),
        slots=dice.choice([0, 1, 2, 4]), memory_mb=dice.randrange(256, 8192), speed=dice.random() * 40,
        isolation=Isolation(rung=dice.choice(list(Rung))), functions_from=dice.choice(list(Rung)),
        packages=("numpy==2.4.6", *dice.sample(["torch==2.13.0", "scipy==1.16", "onnxruntime==1.31.1"], 2)),
        offer=Offer(region=dice.choice(["", "eu", "eu-fr"]), cost=dice.choice([None, 0.0, 1.0])),
        kinds=dice.choice([("inference", "function"), ("inference",)]),
    )  # fmt: skip


def spec(dice, number):
    words = msgspec.structs.replace(
        requirement_for(dice.choice(["trusted-lenders", "trusted-lenders", "private"])),
        region=dice.choice(["", "", "eu"]), cost=dice.choice([None, None, 0.5]),
    )  # fmt: skip
    return JobSpec(
        job=number.to_bytes(16, "big"), name=f"j{number}", kind=dice.choice(list(Kind)), tasks=10,
        program=BlobRef(blob=bytes(32), size=1), requirement=words,
        needs=Needs(
            memory_mb=dice.randrange(64, 4096), python=dice.choice(["", ">=3.12", "<3.13,>=3.9"]),
            packages=dice.choice([(), ("numpy>=2",), ("numpy", "torch>=2.1,<3")]),
        ),
    )  # fmt: skip


def fleet(jobs=50, nodes=1000, seed=1):
    dice = random.Random(seed)
    machines = [report(dice, n) for n in range(nodes)]
    facts = [
        placement.NodeFacts(node=NodeId(n.to_bytes(32, "big")), report=r, proven=NOTHING, free=n % 3, survival=1.0)
        for n, r in enumerate(machines)
    ]
    barred = frozenset(fact.node for fact in dice.sample(facts, min(nodes, 5))) | {NodeId(b"gone" * 8)}
    return [placement.JobFacts(spec=spec(dice, n), wanted=3, barred=barred) for n in range(jobs)], facts


def plain(jobs, nodes):
    """The simple twin."""
    return np.array([
        [
            n.free > 0 and n.node not in j.barred and not admission.refusals(j.spec, n.report, n.proven, KNOWN)
            for n in nodes
        ]
        for j in jobs
    ])  # fmt: skip


@pytest.mark.parametrize(
    "bounds", [{}, {"most_pairs": 640}, {"most_reasons": 3}, {"most_pairs": 32, "most_reasons": 1, "spare": 0}]
)
def test_remembered_verdicts_are_the_plain_ones(bounds):
    verdicts = Verdicts(KNOWN, **bounds)
    for seed in (1, 2, 1):
        jobs, nodes = fleet(12, 40, seed)
        wanted = plain(jobs, nodes)
        assert (placement.formulate(jobs, nodes, verdicts).allowed == wanted).all()
        assert 0 < wanted.sum() < wanted.size


def test_memory_is_bounded_however_many_kinds_of_jobs_and_machines_come():
    verdicts = Verdicts(KNOWN, most_pairs=2000, most_reasons=50, spare=20)
    for seed in range(20):
        jobs, nodes = fleet(20, 30, seed)
        placement.formulate(jobs, nodes, verdicts)
        assert len(verdicts._seen) <= 3 * 30 + 20
        assert sum(map(len, verdicts._rows.values())) <= 2000
        assert len(verdicts._reasons) <= 50 + 30
        assert max(len(text) for reasons in verdicts._reasons for text in reasons) <= 200


def test_a_machine_that_changes_its_report_gets_a_verdict_of_its_own():
    verdicts = Verdicts(KNOWN)
    jobs, nodes = fleet(1, 1)
    walled = msgspec.structs.replace(
        nodes[0].report, isolation=Isolation(rung=Rung.NAMESPACES), functions_from=Rung.NAMESPACES, slots=2
    )
    weak = msgspec.structs.replace(walled, isolation=Isolation(rung=Rung.FLAT))
    job = msgspec.structs.replace(
        jobs[0].spec, kind=Kind.FUNCTION, needs=Needs(memory_mb=64), requirement=requirement_for("trusted-lenders")
    )
    walled, weak = (msgspec.structs.replace(r, kinds=("function",)) for r in (walled, weak))
    numbers = verdicts.row(job, verdicts.ids([(walled, NOTHING), (weak, NOTHING), (walled, NOTHING)]))
    assert numbers[0] == numbers[2] == 0 != numbers[1]
    assert "namespaces" in next(iter(verdicts.common(numbers)))


def steps(call):
    """Return how many functions a call calls: its cost on any machine, however busy."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def test_fifty_jobs_on_a_thousand_nodes_are_formulated_in_milliseconds_when_warm():
    jobs, nodes = fleet()
    verdicts = Verdicts(KNOWN)
    cold = steps(lambda: placement.formulate(jobs, nodes, verdicts))
    warm = steps(lambda: placement.formulate(jobs, nodes, verdicts))
    assert warm < 10_000, "a few calls for each node or job, none for a pair of them: 1.3 ms here"
    assert cold > 10 * warm


def desk_of(jobs, nodes):
    desk = Desk(None, 1, KNOWN, DispatcherConfig())
    for fact in nodes:
        desk.nodes[fact.node] = Node(fact.node, fact.report, ())
    for fact in jobs:
        job = desk.jobs[fact.spec.id] = Job(fact.spec, OWNER, 0.0)
        job.has_program = True
        job.stored.add(0)
    desk.owners.add(OWNER)
    return desk


def told(desk):
    up = answers.Up(desk)
    return [answers.waiting(desk, job, up) for job in desk.jobs.values()]


def test_why_fifty_jobs_wait_for_a_thousand_nodes_is_told_in_milliseconds_when_warm():
    jobs, nodes = fleet()
    jobs = [
        placement.JobFacts(
            spec=msgspec.structs.replace(j.spec, requirement=requirement_for("private")), wanted=1, barred=frozenset()
        )
        for j in jobs
    ]
    desk = desk_of(jobs, nodes)
    assert all(text.startswith("none of 1000 nodes may run it: nothing here proves") for text in told(desk))
    assert steps(lambda: told(desk)) < 20_000, "a few calls for each node or job, none for a pair of them"


def test_why_a_job_waits_agrees_with_its_explanation():
    jobs, nodes = fleet(20, 30)
    desk = desk_of(jobs, nodes)
    for job, text in zip(desk.jobs.values(), told(desk), strict=True):
        verdicts = [answers.verdict(desk, job, node) for node in desk.nodes.values()]
        assert text.startswith("none of 30") is not any(v.admitted for v in verdicts)
        assert all(len(v.reasons) <= MAX_REASONS for v in verdicts)


def test_a_barred_node_is_among_the_reasons():
    jobs, nodes = fleet(1, 1)
    desk = desk_of(jobs, nodes)
    (job,), (node,) = desk.jobs.values(), desk.nodes
    job.barred[node] = "it sent a result that does not open"
    admitted = not admission.refusals(job.spec, desk.nodes[node].report, NOTHING, KNOWN)
    assert ("does not open" in told(desk)[0]) or not admitted
