"""The power goes before every single durable step of every change: the old state or the new one, and nothing left behind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safe import Safe, by_passphrase, contents

from propolis.adapters.vault.memory import PowerCut
from propolis.ports.vault import Stage
from propolis.runtime.vault.vault import InTpm, Vault
from propolis.terms.errors import VaultError

CHANGES = {
    "put": lambda safe: safe.vault.put("a", [b"new" * 30_000]),
    "keep": lambda safe: safe.vault.put("a", [b"new"], keep=3),
    "remove": lambda safe: safe.vault.remove("a"),
    "revoke": lambda safe: safe.vault.revoke(None),
    "recover": lambda safe: Vault.recover(safe.world, safe.code, InTpm()),
    "approve": lambda safe: Vault.approve_by_code(safe.world, safe.code),
}
MOST_STEPS = 40


def cut_at(safe, change, steps):
    """Run a change with the power going after so many steps. Return whether it went."""
    safe.folder.cut_after = steps
    try:
        change(safe)
    except PowerCut:
        return True
    finally:
        safe.folder.cut_after = None
        safe.folder._held = False  # the system lets go of a lock
    return False


@pytest.mark.parametrize("name", CHANGES)
def test_a_cut_at_any_step_leaves_the_old_state_or_the_new_one(name):
    for steps in range(MOST_STEPS):
        safe = Safe()
        safe.vault.put("a", [b"old"])
        safe.vault.put("b", [b"beside"])
        before = contents(safe.vault)
        went = cut_at(safe, CHANGES[name], steps)
        safe.vault = safe.open()
        after = contents(safe.vault)
        assert safe.vault.verify(deep=True) == []
        safe.vault.put("c", [b"later"])
        assert {stage for _, stage in safe.folder.files} == {Stage.WHOLE}
        assert len(safe.folder.files) == len(contents(safe.vault))
        assert safe.vault.unknown() == []
        assert contents(safe.open()) == after | {("c", 1): b"later"}
        if not went:
            assert steps >= 2
            return
        whole = Safe()
        whole.vault.put("a", [b"old"])
        whole.vault.put("b", [b"beside"])
        CHANGES[name](whole)
        assert after in (before, contents(whole.open()))
    raise AssertionError("the change never ended")


def test_a_revocation_that_was_cut_is_completed_and_said():
    """Between the new header and the count: the copy of before is dead after the next opening."""
    for steps in range(MOST_STEPS):
        safe = Safe()
        before = safe.folder.kept
        went = cut_at(safe, CHANGES["revoke"], steps)
        renewed = safe.folder.kept != before
        opened = safe.open()
        if went and renewed:
            assert opened.notes == ("the last change was cut in the middle and was completed now",)
        safe.folder.kept, newest = before, safe.folder.kept
        if renewed:
            with pytest.raises(VaultError):
                safe.open()
        safe.folder.kept = newest
        if not went:
            return
    raise AssertionError("the revocation never ended")


def test_a_count_without_a_new_header_leaves_what_the_recovery_code_opens():
    """The other order: the TPM counted (or somebody did), and the header was never written."""
    safe = Safe()
    safe.vault.put("a", [b"1"])
    safe.chip.increment(safe.vault.header.home.epoch_counter)
    with pytest.raises(VaultError) as told:
        safe.open()
    assert "recover" in told.value.way_out
    assert contents(Vault.recover(safe.world, safe.code, InTpm())) == {("a", 1): b"1"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "keep", "remove", "revoke"]), st.integers(0, 12)), min_size=1, max_size=6
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_chain_of_changes_and_cuts_stays_a_vault(chain, chip):
    """Cut after cut, also of what completes a cut."""
    safe = Safe(InTpm() if chip else by_passphrase())
    model = {}
    for name, steps in chain:
        before = contents(safe.vault)
        assert before == model
        if name == "remove" and not any(key[0] == "a" for key in model):
            continue
        change = CHANGES[name] if name != "revoke" else lambda safe: safe.vault.revoke(safe.secret)
        went = cut_at(safe, change, steps)
        if went:
            for again in range(3):
                cut_at(safe, lambda safe: safe.open().put("z", [b"z"]), again)
            safe.vault = safe.open()
            if any(item.name == "z" for item in safe.vault.stored()):
                safe.vault.remove("z")
        model = contents(safe.vault)
        assert safe.vault.verify(deep=True) == []
        if not went and name in ("put", "keep"):
            assert b"new" in next(iter(sorted(model.items(), reverse=True)))[1]
