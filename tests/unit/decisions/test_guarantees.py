"""Levels come from the table: what holds where, what a break or a cap takes away, and what a demand asks beyond a level."""

import re
from pathlib import Path

import pytest

from propolis.decisions import admission, privacy
from propolis.decisions.guarantees import Known, beyond_reach, guarantees, most, read_table
from propolis.messages import codec
from propolis.runtime.known import known_today, table_bytes
from propolis.terms.capability import Isolation, Offer, Rung
from propolis.terms.errors import ConfigError, MalformedMessage
from propolis.terms.evidence import NOTHING, Attested
from propolis.terms.requirement import (
    Adversary,
    Asset,
    Demand,
    Empirical,
    Guarantee,
    Hardware,
    Level,
    Proof,
    Requirement,
    suffices,
)

WALLED = Isolation(rung=Rung.NAMESPACES)
TABLE = read_table(table_bytes())
TODAY = known_today().date
LENDERS = privacy.requirement_for("trusted-lenders")
PAIR = (Asset.DATA_IN_USE, Adversary.CO_TENANT)
ADVISORY = """
[[broken]]
technology = "sandbox"
by = 1
because = "a kernel that lets a guest read its neighbour"
source = "an advisory of tomorrow"
date = "2026-12-01"
"""


def snp(*claims, until="9999-12-31"):
    return (Attested(technology="sev-snp", claims=("tcb-current", "debug-off", "known-image", *claims), until=until),)


FIXED = ("not-milan", "alias-check-complete")


def level(pair, isolation=WALLED, proven=NOTHING, table=TABLE, date=TODAY):
    return max((g.level for g in guarantees(isolation, proven, table, date).get(pair, ())), default=Level.NONE)


def test_today_nothing_is_proven_and_the_table_says_what_it_always_said():
    for rung in (Rung.FLAT, Rung.NAMESPACES):
        given = guarantees(Isolation(rung=rung), NOTHING, TABLE, TODAY)
        sealed = {(a, Adversary.NETWORK) for a in Asset if a is not Asset.STORED_DATA}
        walled = {(a, Adversary.CO_TENANT) for a in (Asset.DATA_IN_USE, Asset.MODEL, Asset.KEYS)}
        assert set(given) == sealed | walled
        assert all(level(pair, Isolation(rung=rung)) is Level.PROOF for pair in sealed)
        assert all(level(pair, Isolation(rung=rung)) is Level.EMPIRICAL for pair in walled)
    assert not [pair for pair in guarantees(Isolation(rung=Rung.BARE), NOTHING, TABLE, TODAY) if pair[1] > 0]


def test_an_advisory_added_to_the_file_changes_levels_without_code():
    warned = read_table(table_bytes() + ADVISORY.encode())
    assert level(PAIR) is Level.EMPIRICAL
    assert level(PAIR, table=warned) is Level.NONE
    known, told = Known(table=TABLE, date=TODAY), Known(table=warned, date=TODAY)
    assert admission.lacking(LENDERS, WALLED, Offer(), NOTHING, known) == []
    assert "data-in-use against A1 co tenant" in admission.lacking(LENDERS, WALLED, Offer(), NOTHING, told)[0]


def test_a_cap_added_to_the_file_puts_a_demand_beyond_reach():
    capped = (
        table_bytes()
        + b"""
[[cap]]
assets = ["data-in-use"]
against = [3]
most = "empirical"
because = "every chip is broken"
source = "tomorrow"
date = "2026-12-01"
"""
    )
    demand = Demand(asset=Asset.DATA_IN_USE, adversary=Adversary.LENDER, least=Hardware())
    assert not beyond_reach(demand, TABLE)
    assert beyond_reach(demand, read_table(capped))
    assert level((Asset.DATA_IN_USE, Adversary.LENDER), proven=snp(*FIXED), table=read_table(capped)) is Level.NONE


def test_what_was_never_possible_still_is_not():
    for asset in Asset:
        cap = Level.EMPIRICAL if asset in (Asset.STORED_DATA, Asset.RESULT_INTEGRITY) else Level.NONE
        assert most((asset, Adversary.LABORATORY), TABLE) is cap
        assert most((asset, Adversary.LENDER), TABLE) is Level.PROOF


@pytest.mark.parametrize(
    ("proven", "expected"),
    [
        (NOTHING, Level.NONE),
        (snp(), Level.NONE),  # Milan and aliasing are not excluded
        (snp("not-milan"), Level.NONE),
        (snp(*FIXED), Level.HARDWARE),
        (snp(*FIXED, until="2026-01-01"), Level.NONE),  # expired
        ((Attested(technology="tdx", claims=(), until="9999-12-31"),), Level.NONE),
        ((Attested(technology="tdx", claims=snp(*FIXED)[0].claims[:2], until="9999-12-31"), *snp()), Level.NONE),
    ],
)
def test_hardware_counts_only_with_every_claim_and_no_open_break(proven, expected):
    assert level((Asset.DATA_IN_USE, Adversary.LENDER), proven=proven) is expected
    assert level((Asset.DATA_IN_USE, Adversary.CHEAP_PHYSICAL), proven=proven) is Level.NONE


def test_what_is_proven_meets_private_and_needs_no_other_signature():
    known = Known(table=TABLE, date=TODAY)
    private = privacy.requirement_for("private")
    assert admission.lacking(private, WALLED, Offer(), NOTHING, known)
    assert admission.lacking(private, WALLED, Offer(), snp(*FIXED), known) == []


def test_a_clock_before_the_table_credits_no_row_and_forgets_no_break():
    assert guarantees(WALLED, snp(*FIXED), TABLE, "1970-01-01") == {}
    reasons = admission.lacking(LENDERS, WALLED, Offer(), NOTHING, Known(table=TABLE, date="1970-01-01"))
    assert "clock that judges says 1970-01-01" in reasons[-1]
    warned = read_table(table_bytes() + ADVISORY.encode())
    assert level(PAIR, table=warned, date="2026-11-30") is Level.NONE


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("bits = 128", "bits = 0", "bits"),
        ("bits = 128", "", "one of bits"),
        ("bits = 128", "bits = 128\nrefused = 1.0", "one of bits"),
        ("rung = 3", "", "a rung is what"),
        ('technology = "sev-snp"\nby = 3', 'technology = "sev-spn"\nby = 3', "no such technology"),
        ("against = [0]", "against = [9]", "against"),
        ("[[row]]\n", '[[row]]\ndates = "yesterday"\n', "dates"),
        ('date = "2026-11-24"', 'date = "yesterday"', "date"),
        ("source =", "sauce =", "unknown field"),
        ("[[row]]", "[row", "table of guarantees"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(old, new, why):
    text = table_bytes().decode()
    assert old in text
    with pytest.raises(ConfigError, match=why):
        read_table(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("table", [b"\xff", b"a = ", b"date = 5"])
def test_bytes_that_are_no_table_are_refused(table):
    with pytest.raises(ConfigError):
        read_table(table)


def test_every_entry_of_the_table_has_a_source_and_a_date_not_after_its_review():
    for entry in (*TABLE.row, *TABLE.broken, *TABLE.cap):
        assert entry.source
        assert entry.date <= TABLE.date


def test_the_measured_share_is_of_the_attempts_there_are():
    suite = (Path(__file__).parents[2] / "attacks" / "test_escape.py").read_text("utf-8")
    attempts = re.search(r"^ATTEMPTS = \{\n(.*?)^\}", suite, re.DOTALL | re.MULTILINE)
    count = len(re.findall(r'^    "\w+":', attempts[1], re.MULTILINE))
    (row,) = [row for row in TABLE.row if row.rung is Rung.NAMESPACES]
    assert f"{count} of {count} attempts refused" in row.source


@pytest.mark.parametrize(
    ("given", "least", "met"),
    [
        (None, Empirical(value=0.0), False),
        (Proof(bits=40), Proof(bits=40), True),
        (Proof(bits=36), Proof(bits=40), False),
        (Proof(bits=40), Proof(), False),  # the default is strict
        (Hardware(claims=("a", "b")), Proof(bits=1), False),
        (Hardware(claims=("a", "b")), Hardware(claims=("b",)), True),
        (Hardware(claims=("a",)), Hardware(claims=("a", "b")), False),
        (Hardware(claims=("a",)), Hardware(), True),
        (Hardware(claims=("a",)), Empirical(), True),
        (Empirical(value=0.9, date="2026-01-01"), Empirical(), False),
        (Empirical(value=1.0, date="2026-01-01"), Empirical(), True),
        (Empirical(value=1.0, date="2026-01-01"), Empirical(date="2026-01-02"), False),
        (Empirical(value=1.0, date="2026-01-01"), Hardware(), False),
        (Proof(bits=36), Hardware(claims=("a",)), True),
        (Proof(bits=7), Hardware(), False),  # it fails once in 128
        (Proof(bits=7), Empirical(), False),
    ],
)
def test_strengths(given, least, met):
    assert suffices(given, least) is met


def test_a_demand_that_names_no_strength_demands_a_proof():
    demand = Demand(asset=Asset.KEYS, adversary=Adversary.NETWORK)
    assert demand.least == Proof(bits=128)
    assert str(demand) == "keys against A0 network: proof"
    weak = Guarantee(strength=Proof(bits=64), because="x")
    assert not demand.met_by({(Asset.KEYS, Adversary.NETWORK): (weak,)})
    assert demand.met_by({(Asset.KEYS, Adversary.NETWORK): (weak, Guarantee(strength=Proof(), because="x"))})


@pytest.mark.parametrize(
    ("demands", "offer", "missing"),
    [
        ({}, Offer(), None),
        ({"region": "eu"}, Offer(), "states no region"),
        ({"region": "eu"}, Offer(region="us"), "its lender says us"),
        ({"region": "eu"}, Offer(region="europe"), "its lender says europe"),
        ({"region": "eu-fr"}, Offer(region="eu"), "its lender says eu"),
        ({"region": "eu"}, Offer(region="eu-fr"), None),
        ({"region": "eu"}, Offer(region="eu"), None),
        ({"cost": 0.0}, Offer(), "states no cost"),
        ({"cost": 1.0}, Offer(cost=2.0), "asks 2"),
        ({"cost": 0.0}, Offer(cost=0.0), None),
        ({"deadline": 60.0}, Offer(), "nobody here promises a time"),
    ],
)
def test_region_cost_and_deadline_are_floors_and_what_is_not_offered_is_not_met(demands, offer, missing):
    requirement = Requirement(keyword="x", demands=LENDERS.demands, **demands)
    reasons = admission.lacking(requirement, WALLED, offer, NOTHING, Known(table=TABLE, date=TODAY))
    assert (reasons == []) if missing is None else missing in reasons[0]


@pytest.mark.parametrize(
    "least",
    [["proof", 0], ["proof", 1e9], ["hardware", ["x y"]], ["empirical", 2.0, "2026-01-01"], ["empirical", 1.0, "x"]],
)
def test_strengths_of_a_stranger_are_bounded(least):
    with pytest.raises(MalformedMessage):
        codec.decode(codec.encode(["keys", 0, least]), Demand)
