"""The result a node keeps counts while it is the fleet's, this node's, and not over; anything else is nothing."""

import asyncio
import json
import stat
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from propolis.adapters.keyhome.file import FileKeyHome
from propolis.cli.main import cli
from propolis.crypto import ear, identity
from propolis.decisions.capabilities.outlook import outlook
from propolis.messages.attestation import Appraised
from propolis.node import attesting
from propolis.node.assembly import Node, sandboxed
from propolis.runtime import config, results
from propolis.runtime.known import known_today, proven_here
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import TpmMissing
from propolis.terms.evidence import NOTHING, Attested
from propolis.terms.finding import Findings
from propolis.terms.requirement import Level
from propolis.terms.trust import Vector

FLEET_SEED, OTHER_SEED = b"f" * 32, b"o" * 32
FLEET = identity.public_of(FLEET_SEED)
CLAIMS = ("endorsed", "firmware-not-known-bad", "resident-key", "sealed-to-policy")
VECTOR = Vector(instance_identity=2, hardware=2)


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "node"
    home.mkdir(mode=0o700)
    config.write(home / "fleet.json", config.FleetFile(fleet=FLEET.hex(), addresses=("127.0.0.1:1",)))
    FileKeyHome(home / "identity")
    return home


def node_of(home):
    return FileKeyHome(home / "identity").identity


def signed(node, *, seed=FLEET_SEED, left=600, emulated=False, technologies=("tpm", "measured-boot"), claims=CLAIMS):
    now = int(time.time())
    said = ear.Appraisal(
        status=VECTOR.status, vector=VECTOR, policies=("default",), claims=claims, technology="tpm2-quote/1",
        technologies=technologies, emulated=emulated,
    )  # fmt: skip
    read = ear.Result(
        iat=now - 1000, exp=now + left, node=node.hex(), submods={ear.SUBMODULE: said},
        verifier=ear.VerifierId(developer="propolis", build="1"),
    )  # fmt: skip
    return ear.sign(read, lambda data: identity.sign_token(seed, data))


def test_the_fleets_word_on_this_node_is_what_is_proven_here(home):
    node = node_of(home)
    assert proven_here(home, node) == NOTHING
    results.keep(home, signed(node))
    assert stat.S_IMODE((home / results.FILE).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []
    assert [each.technology for each in proven_here(home, node)] == ["tpm", "measured-boot"]
    assert proven_here(home, node)[0].claims == CLAIMS
    results.drop(home)
    results.drop(home)
    assert proven_here(home, node) == NOTHING


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda node: signed(node, seed=OTHER_SEED), "signature"),
        (lambda node: signed(b"x" * 32), "identity"),
        (lambda node: signed(node, left=-1), "ear_expired"),
        (lambda node: signed(node)[:-1], "ear_format"),
        (lambda node: "no result", "ear_format"),
        (lambda node: "x" * 20_000, "oversize"),
    ],
)
def test_whatever_is_off_is_nothing_and_says_why(home, made, code):
    node = node_of(home)
    results.keep(home, made(node))
    assert proven_here(home, node) == NOTHING
    done = CliRunner().invoke(cli, ["--home", str(home.parent), "attest", "--result", "--json"], standalone_mode=False)
    found = json.loads(done.output)
    assert (found["counts"], found["reject_code"], done.return_value) == (False, code, 1)


def test_a_result_without_a_fleet_or_a_node_is_nothing(home):
    node = node_of(home)
    results.keep(home, signed(node))
    assert proven_here(home, None) == NOTHING
    (home / "fleet.json").write_text("{")
    assert proven_here(home, node) == NOTHING
    (home / "fleet.json").unlink()
    assert proven_here(home, node) == NOTHING


def test_words_that_a_release_does_not_know_prove_nothing(home):
    results.keep(home, signed(node_of(home), claims=("NOT A CLAIM",)))
    assert proven_here(home, node_of(home)) == NOTHING


def test_attest_result_tells_it_to_people_and_programs(home):
    results.keep(home, signed(node_of(home), emulated=True))
    words = CliRunner().invoke(cli, ["--home", str(home.parent), "attest", "--result"], standalone_mode=False)
    assert words.return_value == 0
    for said in ("signed by the fleet", "EMULATED TPM", "affirming", "resident-key", "instance-identity 2", "s left"):
        assert said in words.output, words.output
    done = CliRunner().invoke(cli, ["--home", str(home.parent), "attest", "--result", "--json"], standalone_mode=False)
    found = json.loads(done.output)
    assert (found["counts"], found["emulated"], found["expired"]) == (True, True, False)
    assert found["trust_vector"]["hardware"] == 2
    assert 0 < found["seconds_left"] <= 600


def test_no_result_says_how_there_comes_to_be_one(tmp_path):
    done = CliRunner().invoke(cli, ["--home", str(tmp_path), "attest", "--result"], standalone_mode=False)
    assert "has no result of its fleet" in str(done.exception)
    assert not (tmp_path / "node").exists()


def test_what_an_emulated_tpm_proves_is_labelled_and_raises_no_level():
    known, when = known_today(), "2026-01-01T00:00:00Z"
    nowhere = Findings(system="linux", when=when, facts=())

    def seen(proven):
        return outlook(nowhere, Isolation(rung=Rung.NAMESPACES), proven, known.table, known.date)

    def proven(*, emulated):
        return (Attested(technology="tpm", claims=CLAIMS, until="9999-01-01", emulated=emulated),)

    chip, acted, nothing = seen(proven(emulated=False)), seen(proven(emulated=True)), seen(NOTHING)
    assert acted.now == nothing.now != chip.now
    assert any(cell.level is Level.HARDWARE for cell in chip.now)
    (line,) = [line for line in acted.lines if line.technology == "tpm"]
    assert (line.proven, line.emulated, line.gives) == (CLAIMS, True, ())
    from propolis.cli.outlook import proven as told

    assert told(line).startswith("EMULATED, counts for nothing: ")


def test_a_node_keeps_the_newest_and_says_each_conclusion_once(home):
    said = []
    settings = config.NodeFile()
    node = Node(home, sandboxed(settings), settings, appraised=said.append)
    text = signed(node_of(home))
    proven = (Attested(technology="tpm", claims=CLAIMS, until="2026-12-01"),)
    for _ in range(3):
        node._told(Appraised(ear=text, until=1, proven=proven))
    assert (home / results.FILE).read_text() == text
    for _ in range(2):
        node._told(Appraised(reason="reset: the machine was reset since"))
    assert not (home / results.FILE).exists()
    node._told(Appraised(ear=text, until=1, proven=proven))
    assert said == [
        "this machine proved: tpm",
        "this machine proves nothing: reset: the machine was reset since",
        "this machine proved: tpm",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [(config.NodeFile(), "has no TPM"), (config.NodeFile(tpm=False), "keeps its TPM out")],
)
def test_why_a_machine_shows_nothing_is_told_to_who_lends_it(monkeypatch, settings, said):
    def missing(_emulator):
        async def identity():
            raise TpmMissing("/dev/tpmrm0 is not there: this machine has no TPM 2.0")

        return SimpleNamespace(identity=identity)

    monkeypatch.setattr(attesting, "attester_of", missing)
    told = []
    assert asyncio.run(attesting.attester_here(settings, lambda words, _: told.append(words))) is None
    assert len(told) == 1
    assert said in told[0]
