"""Every parser of a stranger's bytes, fed mutations: only its typed refusals escape. FUZZ_N mutations each (`make fuzz`)."""

import json
import os

import msgspec
import pytest
from fuzz import __main__ as command
from fuzz import campaign, derwise, treewise
from fuzz.mutating import Mutations
from fuzz.target import Shape
from fuzz.targets import TARGETS

from propolis.crypto import cbor, der
from propolis.crypto.tpm.marshal import Reader
from propolis.decisions.appraisal import registry
from propolis.terms.errors import Rejected

FUZZ_N = int(os.environ.get("FUZZ_N", "1000"))
pytestmark = pytest.mark.timeout(max(120, FUZZ_N))


@pytest.mark.parametrize("name", TARGETS)
def test_only_a_typed_refusal_escapes(name, tmp_path):
    found = campaign.run(TARGETS[name], FUZZ_N, command.SEED, tmp_path)
    assert found.escapes == 0, (found.first_escape, sorted(tmp_path.iterdir()))
    assert found.mutations == found.rejections + found.accepted == FUZZ_N
    assert found.rejections, "nothing of what was fed is refused: it is no food for this parser"


@pytest.mark.parametrize("name", TARGETS)
def test_the_first_sample_of_every_parser_is_true_food(name):
    """Mutations of what is refused anyway would try nothing but the first check."""
    target = TARGETS[name]
    sample = target.samples()[0]
    target.run(target.finish(sample) if target.finish else sample)


def test_every_type_of_evidence_is_fed():
    for kind in registry.KNOWN:
        assert any(name.split(" ")[0] == kind for name in TARGETS), kind


# -- it can find something


def careless(data):
    """A copy of a reader of sized buffers, with one check forgotten: a list is asked for an item that may not be there."""
    reader = Reader(data)
    parts = [reader.sized() for _ in range(reader.u16())]
    reader.end()
    return parts[1][0]  # nobody looked whether there are two


PLANTED = msgspec.structs.replace(
    TARGETS["TPMS_ATTEST"], name="planted", run=careless, samples=lambda: [b"\0\2" + b"\0\3abc" + b"\0\1d"]
)


def test_a_planted_escape_is_found_saved_and_found_again(tmp_path):
    found = campaign.run(PLANTED, 1000, 1, tmp_path)
    assert found.escapes > 0
    assert "IndexError" in found.first_escape
    saved = sorted(tmp_path.glob("planted-1-*.bin"))
    assert saved
    number = int(saved[0].stem.rpartition("-")[2])
    with pytest.raises(IndexError):
        careless(saved[0].read_bytes())
    again = campaign.run(PLANTED, 1000, 1, tmp_path, [number])
    assert (again.mutations, again.escapes) == (1, 1)
    assert "IndexError" in saved[0].with_suffix(".txt").read_text()


def test_a_parser_without_end_is_an_escape(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "ENDLESS_SECONDS", 0.05)

    def endless(data):
        while data == b"":
            pass
        raise Rejected("truncated", "enough")

    found = campaign.run(msgspec.structs.replace(PLANTED, run=endless), 300, 1, tmp_path)
    assert found.escapes >= 1
    assert "Endless" in found.first_escape


def test_the_command_ends_with_1_where_something_escaped_and_writes_what_it_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "BUILD", tmp_path)
    monkeypatch.setenv("FUZZ_N", "1000")
    monkeypatch.setitem(TARGETS, "planted", PLANTED)
    assert command.main(["planted"]) == 1
    record = json.loads((tmp_path / "fuzz.json").read_text())
    assert record["escapes"] == record["parsers"][0]["escapes"] > 0
    assert f"seed {command.SEED}" in capsys.readouterr().out
    assert command.main(["CBOR"]) == 0
    assert json.loads((tmp_path / "fuzz.json").read_text())["mutations"] == 1000
    assert command.main(["nobody's parser"]) == 2


# -- what the mutations are


@pytest.mark.parametrize(
    "name", ["psa-token", "azcvm", "certificate", "messages of jobs", "firmware log", "invitation"]
)
def test_the_same_seed_makes_the_same_mutations_and_another_seed_others(name):
    first, second, other = (Mutations(TARGETS[name], seed) for seed in (1, 1, 2))
    numbers = range(0, 200, 7)
    assert [first.number(n) for n in numbers] == [second.number(n) for n in reversed(numbers)][::-1]
    assert [first.number(n) for n in numbers] != [other.number(n) for n in numbers]


def test_der_that_is_not_changed_is_written_as_it_was_and_changed_der_is_mostly_der():
    sample = TARGETS["certificate"].samples()[0]
    assert derwise.written(derwise.tree(sample)) == sample
    import random

    whole = 0
    for n in range(200):
        try:
            der.one(derwise.mutated(random.Random(n), sample), sample[0])
            whole += 1
        except Rejected:
            pass
    assert whole > 100


@pytest.mark.parametrize(
    ("name", "shape"), [("psa-token", Shape.CBOR), ("azcvm", Shape.JSON), ("receipt", Shape.MSGPACK)]
)
def test_trees_that_are_not_changed_are_written_as_they_were(name, shape):
    for sample in TARGETS[name].samples():
        tree = treewise.read(sample, shape)
        assert treewise.read(treewise.written(tree, shape), shape) == tree


def test_a_key_may_stand_twice_in_what_is_written():
    with pytest.raises(Rejected, match="twice"):
        cbor.decode(treewise.written(treewise.Map([treewise.Pair([1, 2]), treewise.Pair([1, 3])]), Shape.CBOR))
