"""A policy survives being written as text: what is read back is the same, whatever the names, in the same order."""

import tomllib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from propolis.decisions.appraisal import policy_text
from propolis.decisions.appraisal.policy import DEFAULT, Approved, Image, Policy, Rehearsal, read
from propolis.terms.errors import ConfigError

HEX = "0123456789abcdef"
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
digests = st.text(HEX, min_size=64, max_size=64)
keys = st.builds(lambda kind, rest: f"000{kind}{rest}", st.sampled_from("bc"), digests)
claims = st.lists(st.sampled_from(["lockdown", "keeps-no-memory"]), max_size=2, unique=True).map(tuple)
images = st.lists(
    st.builds(Image, digest=digests, name=words, claims=claims), max_size=4, unique_by=lambda one: one.digest
).map(tuple)
approved = st.lists(
    st.builds(Approved, ek=keys, maker=st.sampled_from(["AMD", "INTC", "IFX"]), note=st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
    max_size=4,
    unique_by=lambda one: one.ek,
).map(tuple)  # fmt: skip
rehearsals = st.none() | st.lists(digests, min_size=1, max_size=3).map(
    lambda roots: Rehearsal(i_know_that_an_emulated_tpm_proves_nothing=True, roots=tuple(roots))
)
policies = st.builds(
    Policy,
    name=words,
    pcrs=st.lists(st.integers(0, 23), min_size=1, max_size=24).map(tuple),
    lease_seconds=st.integers(30, 3600),
    strict_clock=st.booleans(),
    measurements=st.sampled_from(["ignored", "clean"]),
    image=images,
    approved=approved,
    rehearsal=rehearsals,
)


@given(policies)
@settings(max_examples=200)
def test_what_is_written_reads_back_as_the_same(policy):
    assert read(policy_text.write(policy).encode()) == policy
    assert read(policy_text.write(policy, whole=True).encode()) == policy


@given(policies, keys, digests)
def test_an_edit_adds_one_thing_and_keeps_the_rest(policy, ek, digest):
    assume(ek not in {each.ek for each in policy.approved} and digest not in {each.digest for each in policy.image})
    more = policy_text.approve(policy, ek, "IFX", "looked at it")
    assert more.approved[:-1] == policy.approved
    assert (more.approved[-1].ek, more.image, more.pcrs) == (ek, policy.image, policy.pcrs)
    more = policy_text.add_image(policy, Image(digest=digest, name="one", claims=("lockdown",)))
    assert (more.image[:-1], more.approved) == (policy.image, policy.approved)


def test_certificates_survive():
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    text = policy_text.write(Policy(certificates=(pem,)))
    assert tomllib.loads(text)["certificates"] == [pem]


def test_the_default_is_an_empty_text():
    assert policy_text.write(DEFAULT).strip() == ""
    assert read(b"") == DEFAULT
    shown = tomllib.loads(policy_text.write(DEFAULT, whole=True))
    assert (shown["pcrs"], shown["lease_seconds"], shown["measurements"]) == ([0, 1, 2, 3, 4, 5, 6, 7], 600, "ignored")


def test_what_is_there_already_or_over_a_bound_is_refused():
    ek, digest = "000b" + "a" * 64, "b" * 64
    known = policy_text.approve(DEFAULT, ek, "AMD")
    with pytest.raises(ConfigError, match="already"):
        policy_text.approve(known, ek, "AMD")
    with pytest.raises(ConfigError, match="already, as 'k'"):
        policy_text.add_image(Policy(image=(Image(digest=digest, name="k"),)), Image(digest=digest, name="other"))
    for ek, maker in (("000b", "AMD"), ("000b" + "a" * 64, "amd inc"), ("000b" + "a" * 64, "")):
        with pytest.raises(ConfigError, match="approved"):
            policy_text.approve(DEFAULT, ek, maker)


@pytest.mark.parametrize("key", [b"a.", b'"a". ', b"'a' .", b'"a.b".', b'"\\"".', b"_-.\t"])
def test_a_key_of_many_parts_is_refused_before_it_takes_memory(key):
    """The reader of TOML keeps every beginning of a dotted key: 130,000 parts took 60 GB."""
    parts = key * (200_000 // len(key))
    for text in (parts + b"a = 1", b"[" + parts + b"a]", b"[[image]]\nx = { " + parts + b"a = 1 }"):
        with pytest.raises(ConfigError, match="eight parts"):
            read(text)


def test_a_sentence_with_dots_is_no_key():
    noted = Policy(
        approved=(Approved(ek="000b" + "0" * 64, maker="IFX", note="v1.2.3.4 of 10.0.0.1, seen by a. b. and c."),)
    )
    assert read(policy_text.write(noted).encode()) == noted
