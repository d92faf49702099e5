"""What a node tells its fleet of itself: bounded, labelled as its word, and read by nothing that decides."""

import msgspec
import pytest
from rich.console import Console
from trees import FORGED, TREES, recorded

from propolis.cli.rows import nodes_table, says
from propolis.decisions import admission, privacy
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.reading import read
from propolis.decisions.capabilities.summary import TOLD, summary
from propolis.decisions.verdicts import Verdicts
from propolis.messages import codec
from propolis.messages.rows import NodeRow
from propolis.runtime.known import known_today, known_weaknesses
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import MalformedMessage
from propolis.terms.evidence import NOTHING
from propolis.terms.finding import State

KNOWN = known_weaknesses()
PLAIN = CapabilityReport(
    name="n", system="linux", machine="x86_64", python="3.11", slots=1, memory_mb=512, speed=1.0,
    isolation=Isolation(rung=Rung.NAMESPACES),
)  # fmt: skip
SPLENDID = msgspec.structs.replace(PLAIN, found=tuple((name, State.USABLE) for name in TOLD))


def row(report):
    return NodeRow(node=bytes(32), report=report, state="up", busy=0, address="")


@pytest.mark.parametrize("name", sorted({**TREES, **FORGED, **recorded()}))
def test_a_summary_is_short_and_holds_only_what_is_there(name):
    tree = {**TREES, **{key: value for key, (value, _) in FORGED.items()}, **recorded()}[name]
    findings = read(tree, KNOWN)
    told = summary(findings)
    assert all(findings.fact(each).found and each in CATALOGUE for each, _ in told)
    report = msgspec.structs.replace(PLAIN, found=told)
    assert codec.decode(codec.encode(report), CapabilityReport) == report
    assert len(codec.encode(report)) - len(codec.encode(PLAIN)) < 1000


def test_nothing_that_decides_reads_it():
    known = known_today()
    verdicts = Verdicts(known)
    first, second = verdicts.ids([(PLAIN, NOTHING), (SPLENDID, NOTHING)])
    assert first == second
    for keyword in ("private", "trusted-lenders"):
        demand = privacy.requirement_for(keyword)
        given = [admission.lacking(demand, each.isolation, each.offer, NOTHING, known) for each in (PLAIN, SPLENDID)]
        assert given[0] == given[1]


def test_it_is_shown_as_the_nodes_own_word():
    (line,) = says([row(PLAIN), row(SPLENDID)])
    assert line.startswith("n says, and proves nothing of it: TPM usable")
    console = Console(width=200)
    with console.capture() as shown:
        console.print(nodes_table([row(SPLENDID)]))
    assert "nothing" in shown.get()  # the column PROVEN
    assert "proves nothing of it" in shown.get()


def test_a_strangers_findings_are_bounded_and_of_known_states():
    for found in (
        [["tpm.chip", "usable"]] * 33,
        [["tpm.chip", "proven"]],
        [["x" * 50 + ".y", "usable"]],
        [["\x1b[31m", "usable"]],
    ):
        wire = msgspec.to_builtins(PLAIN)
        with pytest.raises(MalformedMessage):
            codec.decode(codec.encode([*wire[:-1], found]), CapabilityReport)


def test_a_fact_of_another_version_is_shown_by_its_name():
    (line,) = says([row(msgspec.structs.replace(PLAIN, found=(("tee.tomorrow", State.PRESENT),)))])
    assert line.endswith("tee.tomorrow present")
