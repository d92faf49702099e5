"""TPMs known to be bad: data with ranges, never decided upwards, and an advisory that is one more line."""

import pytest
from trees import TREES, intel, linux, tpm

from propolis.decisions.capabilities.reading import read
from propolis.decisions.weaknesses import Weaknesses, concerns, read_weaknesses, version
from propolis.terms.errors import ConfigError
from propolis.terms.finding import State

ADVISORY = """
[[weakness]]
name = "Tomorrow"
maker = "INTC"
versions = [["600.0", "600.99"]]
by = 2
because = "a fault of tomorrow"
raises = "an update"
source = "an advisory"
date = "2026-12-01"
"""


def test_every_entry_has_a_source_and_a_date_not_after_the_review(weaknesses):
    for each in weaknesses.weakness:
        assert each.source
        assert each.date <= weaknesses.date
        assert each.versions or each.processors


def test_an_advisory_added_to_the_file_is_found_without_code(weaknesses):
    from importlib import resources

    text = resources.files("propolis.decisions").joinpath("data/tpm.toml").read_bytes()
    warned = read_weaknesses(text + ADVISORY.encode())
    tree = TREES["laptop-intel-ptt"]
    assert read(tree, weaknesses).fact("tpm.known-bad").state is State.ABSENT
    assert read(tree, warned).fact("tpm.known-bad").value == "Tomorrow"


@pytest.mark.parametrize(
    ("maker", "firmware", "bad"),
    [
        ("IFX", "4.33.0.0", "ROCA"), ("IFX", "4.34.0.0", ""), ("IFX", "4.40.0.0", "ROCA"), ("IFX", "4.43.0.0", ""),
        ("IFX", "7.61.2785.0", "ROCA"), ("IFX", "7.62.3126.0", ""), ("IFX", "133.32.0.0", "ROCA"), ("IFX", "15.20.0.0", ""),
        ("STM", "71.12.0.0", "TPM-FAIL"), ("STM", "71.16.0.0", ""), ("STM", "73.20.0.0", ""), ("STM", "73.64.0.0", ""),
        ("STM", "74.16.0.0", "TPM-FAIL"), ("STM", "74.20.0.0", ""), ("STM", "1.256.0.0", ""),
        ("INTC", "11.8.50.3399", "TPM-FAIL"), ("INTC", "11.8.64.0", "TPM-FAIL"), ("INTC", "11.8.65.0", ""), ("INTC", "12.0.34.0", "TPM-FAIL"),
        ("INTC", "12.0.35.0", ""), ("INTC", "14.0.9.0", "TPM-FAIL"), ("INTC", "500.5.0.0", ""), ("NTC", "7.2.3.1", ""),
    ],
)  # fmt: skip
def test_ranges(maker, firmware, bad, weaknesses):
    fact = read(linux(intel(), tpm(maker, firmware)), weaknesses).fact("tpm.known-bad")
    assert (bad in fact.value and fact.state is State.PRESENT) if bad else fact.state is State.ABSENT


def test_a_version_or_a_processor_not_told_leaves_it_unknown(weaknesses):
    (fault,) = [each for each in weaknesses.weakness if each.name == "faulTPM"]
    assert concerns(fault, "AMD", (3, 58), None) is None
    assert concerns(fault, "AMD", (3, 58), (25, 97)) is False
    (roca,) = [each for each in weaknesses.weakness if "ROCA" in each.name]
    assert concerns(roca, "IFX", (), None) is None
    assert concerns(roca, "IFX", (7,), None) is None
    tree = linux(intel(), tpm("IFX"), {"call:tpm-properties": "0x105 0x49465800"})
    assert read(tree, weaknesses).fact("tpm.known-bad").state is State.UNKNOWN
    odd = linux(intel(), tpm("XYZ", "1.2.3.4"))
    assert read(odd, weaknesses).fact("tpm.known-bad").state is State.UNKNOWN


@pytest.mark.parametrize(
    ("text", "parts"), [("7.85.4555.0", (7, 85, 4555, 0)), ("", ()), ("none", ()), ("v11.8", (11, 8)), ("9" * 99, ())]
)
def test_versions_in_words(text, parts):
    assert version(text) == parts


@pytest.mark.parametrize("data", [b"\xff", b"a = ", b"date = 5", b'date = "2026-01-01"\n[[weakness]]\nname = "x"'])
def test_a_table_that_is_not_understood_is_refused(data):
    with pytest.raises(ConfigError, match="TPM weaknesses"):
        read_weaknesses(data)


def test_an_empty_table_knows_of_none():
    assert read_weaknesses(b'date = "2026-01-01"') == Weaknesses(date="2026-01-01")
