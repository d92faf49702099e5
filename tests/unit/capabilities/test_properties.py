"""What holds of every recording there could be: parsers never raise, denial is never absence, and nothing found proves anything."""

import inspect
import typing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import DENIED, FORGED, TREES, keys, recorded

from propolis.adapters.probe import linux as linux_plan
from propolis.adapters.probe import macos as mac_plan
from propolis.adapters.probe import windows as windows_plan
from propolis.decisions import capabilities, guarantees
from propolis.decisions.capabilities import contradictions, reading
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.look import Look
from propolis.decisions.capabilities.reading import read
from propolis.runtime.known import known_weaknesses
from propolis.terms.evidence import Attested, Proven
from propolis.terms.finding import Contradiction, Fact, Findings, State
from propolis.terms.recording import Outcome, Recording, Seen

KNOWN = known_weaknesses()
EVERY = {**TREES, **recorded(), **{name: recording for name, (recording, _) in FORGED.items()}}
KEYS = sorted({
    *(key for plan in (linux_plan.PLAN, mac_plan.PLAN, windows_plan.PLAN) for key in keys(plan)),
    *(key for recording in EVERY.values() for key in recording.seen),
})  # fmt: skip
TEXTS = sorted({seen.text for recording in EVERY.values() for seen in recording.seen.values()})
texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=80),
    st.sampled_from(["Y", "1", "0", "none", "{}", "[]", "[[", "9" * 40, "ff" * 30]),
)
seen = st.builds(Seen, outcome=st.sampled_from(Outcome), text=texts) | st.builds(Seen, text=texts)
recordings = st.builds(
    Recording,
    system=st.sampled_from(["linux", "windows", "darwin", "plan9", ""]),
    machine=st.sampled_from(["x86_64", "aarch64", "arm64", "amd64", "riscv64", ""]),
    taken=st.just("2026-01-01T00:00:00Z"),
    root=st.booleans(),
    seen=st.dictionaries(st.sampled_from(KEYS), seen, max_size=60),
)


@st.composite
def mixtures(draw):
    """A machine, with a few of its answers exchanged for others': nearly right is worse than noise."""
    base = EVERY[draw(st.sampled_from(sorted(EVERY)))]
    other = draw(st.dictionaries(st.sampled_from(KEYS), seen, max_size=6))
    return msgspec.structs.replace(base, seen={**base.seen, **other}, root=draw(st.booleans()))


anything = st.one_of(recordings, mixtures())
often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(anything)
def test_no_recording_makes_a_parser_raise_and_all_stays_within_bounds(recording):
    found = read(recording, KNOWN)
    assert [fact.name for fact in found.facts] == list(CATALOGUE)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Findings) == found  # bounds are on the type


@often
@given(anything, st.data())
def test_removing_permissions_never_turns_unknown_into_absent(recording, data):
    """Stronger: what is absent with fewer permissions was absent, or contradicted, with more."""
    taken = data.draw(st.sets(st.sampled_from(sorted(recording.seen)))) if recording.seen else set()
    less = msgspec.structs.replace(
        recording, seen={key: DENIED if key in taken else value for key, value in recording.seen.items()}
    )
    before, after = read(recording, KNOWN), read(less, KNOWN)
    doubted = {fact for each in before.contradictions for fact in each.facts}
    for fact in after.facts:
        if fact.state is State.ABSENT and fact.name not in doubted:
            assert before.fact(fact.name).state is State.ABSENT, (fact, before.fact(fact.name), taken)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_single_denial_on_each_machine_leaves_no_absence(name):
    recording = EVERY[name]
    before = read(recording, KNOWN)
    doubted = {fact for each in before.contradictions for fact in each.facts}
    for key in recording.seen:
        for gone in (DENIED, Seen(outcome=Outcome.LATE), Seen(outcome=Outcome.FAILED)):
            after = read(msgspec.structs.replace(recording, seen={**recording.seen, key: gone}), KNOWN)
            for fact in after.facts:
                if fact.state is State.ABSENT and fact.name not in doubted:
                    assert before.fact(fact.name).state is State.ABSENT, (
                        key,
                        gone.outcome,
                        before.fact(fact.name),
                        fact,
                    )


def alone(recording, key):
    """A machine that has nothing but its processor and what one folder, or one call, says."""
    bare = dict.fromkeys(keys(linux_plan.PLAN), Seen(outcome=Outcome.MISSING))
    family = key.rpartition("/")[0] if key.startswith("file:/sys/bus/") else key
    kept = {
        name: value for name, value in recording.seen.items() if name.startswith(family) or name == "file:/proc/cpuinfo"
    }
    return msgspec.structs.replace(recording, seen={**bare, "call:pid-namespace": Seen(text="first"), **kept})


@pytest.mark.parametrize("name", [name for name in sorted(EVERY) if EVERY[name].system == "linux"])
def test_the_only_place_that_says_so_denied_leaves_no_absence(name):
    recording = EVERY[name]
    for key in (key for key, value in recording.seen.items() if value.outcome is Outcome.OK):
        single = alone(recording, key)
        before = read(single, KNOWN)
        doubted = {fact for each in before.contradictions for fact in each.facts}
        after = read(msgspec.structs.replace(single, seen={**single.seen, key: DENIED}), KNOWN)
        for fact in after.facts:
            if fact.state is State.ABSENT and fact.name not in doubted:
                assert before.fact(fact.name).state is State.ABSENT, (key, before.fact(fact.name), fact)


@often
@given(anything)
def test_a_contradicted_fact_is_never_believed(recording):
    found = read(recording, KNOWN)
    raw = {fact.name: fact.state for fact in reading._told(Look(recording), KNOWN)}
    for each in found.contradictions:
        for name in each.facts:
            assert not found.fact(name).found, (each, raw.get(name))


def holds(value, kind) -> bool:
    if isinstance(value, kind):
        return True
    if isinstance(value, msgspec.Struct):
        return any(holds(getattr(value, name), kind) for name in value.__struct_fields__)
    return any(holds(each, kind) for each in value) if isinstance(value, tuple | list) else False


@often
@given(anything)
def test_no_finding_ever_yields_a_proven(recording):
    found = read(recording, KNOWN)
    assert not holds(found, Attested)
    for each in (*found.facts, *found.contradictions):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(msgspec.to_builtins(each), Attested)
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode([each]), type=Proven)


def test_findings_and_evidence_are_unrelated_types():
    for kind in (Fact, Findings, Contradiction):
        assert not issubclass(kind, Attested)
        assert not issubclass(Attested, kind)
    import importlib
    import pkgutil

    for module in pkgutil.iter_modules(capabilities.__path__):
        if module.name == "outlook":  # it shows both side by side, and takes what is proven from its caller
            continue
        source = inspect.getsource(importlib.import_module(f"{capabilities.__name__}.{module.name}"))
        assert "evidence import" not in source, module.name
    hints = typing.get_type_hints(guarantees.guarantees)
    assert Findings not in hints.values()


class _Watched(dict):
    """Remembers what was asked for."""

    def __init__(self, *words):
        super().__init__(*words)
        self.asked = set()

    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)


@pytest.mark.parametrize(
    ("system", "plan"), [("linux", linux_plan.PLAN), ("darwin", mac_plan.PLAN), ("windows", windows_plan.PLAN)]
)
def test_parsers_read_only_what_a_probe_asks_for(system, plan):
    declared = set(keys(plan)) | {f"folder:{each.folder}" for each in plan.leaves}
    asked = set()
    for recording in EVERY.values():
        if recording.system == system:
            watched = _Watched(recording.seen)
            read(msgspec.structs.replace(recording, seen=watched), KNOWN)
            asked |= {key for key in watched.asked if not key.startswith("file:/sys/bus/")}
    linux_keys = set(keys(linux_plan.PLAN)) | {f"folder:{each.folder}" for each in linux_plan.PLAN.leaves}
    assert asked <= declared | linux_keys  # elsewhere a look at Linux's places finds nothing
    rarely = {
        "open:/dev/dri/renderD128",
        "open:/dev/dri/renderD129",
        *(f"folder:{each.folder}" for each in plan.leaves),
    }
    assert declared - asked <= rarely


def test_a_contradiction_names_facts_of_the_catalogue():
    for recording, _ in FORGED.values():
        for each in read(recording, KNOWN).contradictions:
            assert set(each.facts) <= set(CATALOGUE)
    assert contradictions.RULES
