"""The page a person shares: one file, nothing active in it, nothing loaded, and nothing that names a machine or its owner."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from trees import FORGED, TREES

from propolis.cli.outlook import pairs, protects
from propolis.cli.page import SHOWN, page_of
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.outlook import Cell, outlook
from propolis.decisions.capabilities.reading import read
from propolis.runtime.known import known_today, known_weaknesses
from propolis.terms.capability import Isolation, Rung
from propolis.terms.evidence import NOTHING, Attested
from propolis.terms.finding import Contradiction, Fact, Findings, State
from propolis.terms.requirement import Adversary, Asset, Level

KNOWN = known_today()
WALLED = Isolation(rung=Rung.NAMESPACES)
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "svg", "g", "path", "div", "h1", "h2", "h3", "p", "ul", "li", "i",
    "b", "section", "table", "thead", "tbody", "tr", "th", "td", "article", "span", "dl", "dt", "dd", "footer",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "scope", "width", "height", "viewbox", "role", "aria-label",
              "fill", "fill-opacity", "stroke", "stroke-width", "stroke-linejoin", "d"}  # fmt: skip


def seen(findings, proven=NOTHING):
    return outlook(findings, WALLED, proven, KNOWN.table, KNOWN.date)


def page(findings, proven=NOTHING):
    return page_of(seen(findings, proven))


class Strict(HTMLParser):
    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs

    def handle_decl(self, decl):
        assert decl == "doctype html"


def hostile(text):
    return Findings(
        system="linux",
        when="2026-01-01T00:00:00Z",
        facts=tuple(
            Fact(name=name, state=State.USABLE, value=text, how=text, more=text, when="2026-01-01T00:00:00Z")
            for name in CATALOGUE
        ),
        contradictions=(Contradiction(facts=("tpm.chip",), says=text),),
    )


@pytest.mark.parametrize(
    "findings",
    [
        *(
            read(TREES[name], known_weaknesses())
            for name in ("laptop-intel-ptt", "windows-11-vbs", "mac-m2", "freebsd", "container-docker")
        ),
        read(FORGED["two-tees"][0]),
        hostile("<script>alert(1)</script><img src=x onerror=y>\" ' & </style></html>"),
        hostile("\x1b[31m\u202egnp.exe\n\n" + "x" * 200),
    ],
)
def test_nothing_on_it_is_active_or_comes_from_elsewhere(findings):
    made = page(findings)
    Strict().feed(made)
    style = made.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "<script" not in made
    assert "default-src 'none'" in made
    assert made.count("</main>") == 1
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert len(made) < 100_000


def test_only_what_is_listed_is_taken_from_the_machine_as_text():
    secret = "SERIAL-4711-host-of-ada"
    for name in CATALOGUE:
        fact = Fact(name=name, state=State.USABLE, value=secret, how=secret, when="2026-01-01T00:00:00Z")
        made = page(Findings(system=secret, when="2026-01-01T00:00:00Z", facts=(fact,)))
        assert (secret in made) is (name in SHOWN), name
    assert not {"system.kernel", "processor.microcode", "tpm.firmware", "virtual.guest", "storage.space"} & set(SHOWN)


def test_it_says_that_nothing_is_proven_and_what_is_when_something_is():
    findings = read(TREES["laptop-intel-ptt"], known_weaknesses())
    assert "Nothing is proven yet." in page(findings)
    claims = ("endorsed", "resident-key", "sealed-to-policy", "firmware-not-known-bad")
    proven = (Attested(technology="tpm", claims=claims, until="9999-12-31"),)
    made = page(findings, proven)
    assert "Proven: TPM 2.0: endorsed" in made
    assert ">chip</td>" in made
    assert ">chip</td>" not in page(findings)


def test_it_is_written_for_a_phone():
    made = page(read(TREES["laptop-intel-ptt"]))
    assert "width=device-width" in made
    assert not re.search(r"(?<!max-)width:\s*[0-9]{4,}px", made)


def test_what_contradicts_itself_is_on_it():
    assert "inside two kinds of confidential machine at once" in page(read(FORGED["two-tees"][0]))


def line(name, findings):
    (found,) = [each for each in seen(findings).lines if each.technology == name]
    return found


def test_a_tpm_that_is_emulated_or_gives_its_keys_away_is_not_worth_proving():
    known = known_weaknesses()
    emulated = line("tpm", read(TREES["guest-kvm-swtpm"], known))
    assert emulated.could == ()
    assert protects(emulated) == ["nothing: emulated TPM, no hardware root"]
    assert emulated.raises == "another one, of which that is not so"
    roca = line("measured-boot", read(TREES["laptop-infineon-roca"], known))
    assert "ROCA" in roca.spoilt
    assert "firmware update" in roca.raises
    assert line("tpm", read(TREES["laptop-infineon-mended"], known)).could
    assert line("tpm", read(TREES["laptop-amd-zen3"], known)).could  # faulTPM needs the machine in hand


def test_pairs_are_said_in_few_words():
    cells = [
        Cell(asset=a, adversary=who, level=Level.PROOF)
        for a in (Asset.KEYS, Asset.MODEL)
        for who in list(Adversary)[1:4]
    ]
    cells.append(Cell(asset=Asset.STORED_DATA, adversary=Adversary.CHEAP_PHYSICAL, level=Level.NONE))
    assert pairs(cells) == "keys, model from A1 to A3, and stored data from A4"
    assert msgspec.json.encode(cells)
