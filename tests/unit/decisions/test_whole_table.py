"""The table says of every technology of the review what it gives, partly gives, and is broken by; and data alone changes it."""

import pytest

from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.outlook import outlook
from propolis.decisions.guarantees import guarantees, potential, read_table
from propolis.runtime.known import known_today, table_bytes
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import ConfigError
from propolis.terms.evidence import NOTHING, Attested
from propolis.terms.finding import Fact, Findings, State
from propolis.terms.requirement import Adversary, Asset, Level

TABLE = read_table(table_bytes())
TODAY = known_today().date
WALLED = Isolation(rung=Rung.NAMESPACES)
FULL = "yes"
# technology -> asset named in the review -> what it says against A1 … A5 (p partly, n no, Y fully); docs/specs/capabilities.md, step 5
REVIEW = {
    ("process", Asset.DATA_IN_USE): "pnnnn",
    ("sandbox", Asset.DATA_IN_USE): "Ynnnn",
    ("virtual-machine", Asset.DATA_IN_USE): "pnnnn",  # Y in the review; no executor here uses it yet
    ("secure-boot", Asset.RESULT_INTEGRITY): "npnnn",
    ("lockdown", Asset.RESULT_INTEGRITY): "npnnn",
    ("tpm", Asset.STORED_DATA): "YYpnn",
    ("tpm", Asset.KEYS): "YYpnn",
    ("pluton", Asset.KEYS): "YYppn",
    ("measured-boot", Asset.DATA_IN_USE): "YYpnn",
    ("disk-encryption", Asset.STORED_DATA): "nnnnp",  # a thief is none of A1 to A5
    ("iommu", Asset.DATA_IN_USE): "nnnpn",
    ("memory-encryption", Asset.DATA_IN_USE): "nnnpn",
    ("secret-memory", Asset.DATA_IN_USE): "ppnnn",
    ("vbs", Asset.DATA_IN_USE): "YYpnn",
    ("pkvm", Asset.MODEL): "YYpnn",
    ("trustzone", Asset.DATA_IN_USE): "YYppn",
    ("sgx-client", Asset.DATA_IN_USE): "pppnn",  # without attestation nothing can be proven
    ("sgx", Asset.DATA_IN_USE): "YYYnn",
    ("sev", Asset.DATA_IN_USE): "Ypnnn",
    ("sev-snp", Asset.DATA_IN_USE): "YYYnn",
    ("tdx", Asset.MODEL): "YYYnn",
    ("cca", Asset.RESULT_INTEGRITY): "YYYpn",
    ("secure-enclave", Asset.KEYS): "YYYpp",
    ("nvidia-cc", Asset.DATA_IN_USE): "YYYnn",
    ("masking", Asset.DATA_IN_USE): "ppppp",  # proof in the review; not built
}


def said(technology, asset):
    could = potential(technology, TABLE)
    partly = {
        adversary
        for note in TABLE.note
        if note.technology == technology and asset in note.assets
        for adversary in note.against
    }
    return "".join(
        "Y" if (asset, Adversary(n)) in could else "p" if Adversary(n) in partly else "n" for n in range(1, 6)
    )


@pytest.mark.parametrize(("technology", "asset"), REVIEW)
def test_the_review_is_in_the_table(technology, asset):
    assert said(technology, asset) == REVIEW[technology, asset]


def test_every_technology_is_described_and_detected_by_facts_there_are():
    named = {each.name for each in TABLE.technology}
    assert {entry.technology for entry in (*TABLE.row, *TABLE.broken, *TABLE.note)} <= named
    assert {technology for technology, _ in REVIEW} <= named
    for each in TABLE.technology:
        assert set(each.facts) <= set(CATALOGUE), each.name
        assert each.raises
    for note in TABLE.note:
        assert note.source
        assert note.date <= TABLE.date


def test_notes_give_no_level():
    bare = read_table(table_bytes().split(b"# -- notes for people")[0])
    assert bare.note == ()
    for rung in Rung:
        assert guarantees(Isolation(rung=rung), NOTHING, bare, TODAY) == guarantees(
            Isolation(rung=rung), NOTHING, TABLE, TODAY
        )


def tpm(*claims):
    return (
        Attested(
            technology="tpm", claims=("endorsed", "resident-key", "sealed-to-policy", *claims), until="9999-12-31"
        ),
    )


def test_a_tpm_whose_firmware_may_be_known_bad_is_credited_with_nothing():
    pair = (Asset.KEYS, Adversary.MALWARE)
    assert pair not in guarantees(WALLED, tpm(), TABLE, TODAY)
    assert guarantees(WALLED, tpm("firmware-not-known-bad"), TABLE, TODAY)[pair]


@pytest.mark.parametrize("by", [1, 2, 3])
def test_an_advisory_in_the_file_changes_what_could_be_given_without_code(by):
    text = f'\n[[broken]]\ntechnology = "cca"\nby = {by}\nbecause = "x"\nsource = "y"\ndate = "2026-12-01"\n'
    assert max(adversary for _, adversary in potential("cca", TABLE)) == 3
    left = potential("cca", read_table(table_bytes() + text.encode()))
    assert max((adversary for _, adversary in left), default=0) == by - 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (('[[note]]\ntechnology = "tmp"\ndegree = "partly"\nassets = ["keys"]\nagainst = [1]\nbecause = "x"\nsource = "y"\n'
         'date = "2026-01-01"'), "tmp has a note"),
        ('[[technology]]\nname = "tpm"\ntitle = "x"\nraises = "y"', "described twice"),
        ('[[technology]]\nname = "new"\ntitle = "x"\nraises = "y"\nfacts = ["Nonsense"]', "facts"),
        (('[[note]]\ntechnology = "tpm"\ndegree = "fully"\nassets = ["keys"]\nagainst = [1]\nbecause = "x"\nsource = "y"\n'
         'date = "2026-01-01"'), "degree"),
    ],
)  # fmt: skip
def test_notes_and_technologies_that_are_not_understood_refuse_the_table(more, why):
    with pytest.raises(ConfigError, match=why):
        read_table(table_bytes() + b"\n" + more.encode())


def everything(state):
    facts = tuple(Fact(name=name, state=state, when="2026-01-01T00:00:00Z") for name in CATALOGUE)
    return Findings(system="linux", when="2026-01-01T00:00:00Z", facts=facts)


def test_what_is_detected_changes_no_level_and_what_is_proven_does():
    nothing, all_of_it = (outlook(everything(s), WALLED, NOTHING, TABLE, TODAY) for s in (State.ABSENT, State.USABLE))
    assert nothing.now == all_of_it.now
    assert [line.gives for line in nothing.lines] == [line.gives for line in all_of_it.lines]
    assert all(line.proven == () for line in all_of_it.lines)
    shown = outlook(everything(State.ABSENT), WALLED, tpm("firmware-not-known-bad"), TABLE, TODAY)
    (line,) = [line for line in shown.lines if line.technology == "tpm"]
    assert shown.level(Asset.KEYS, Adversary.MALWARE) is Level.HARDWARE
    assert "resident-key" in line.proven
    assert line.gives


def test_an_expired_result_is_not_shown_as_proven():
    old = (Attested(technology="tpm", claims=("endorsed",), until="2020-01-01"),)
    assert all(line.proven == () for line in outlook(everything(State.ABSENT), WALLED, old, TABLE, TODAY).lines)


def test_a_technology_that_needs_several_facts_is_as_far_as_the_least_of_them():
    facts = {"tpm.chip": State.USABLE, "firmware.secure-boot": State.UNKNOWN}
    findings = Findings(
        system="linux",
        when="2026-01-01T00:00:00Z",
        facts=tuple(Fact(name=name, state=state, when="2026-01-01T00:00:00Z") for name, state in facts.items()),
    )
    states = {line.technology: line.state for line in outlook(findings, WALLED, NOTHING, TABLE, TODAY).lines}
    assert states["measured-boot"] is State.UNKNOWN
    assert states["tpm"] is State.USABLE
    assert states["sev-snp"] is State.UNKNOWN  # nobody looked
