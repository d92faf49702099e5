"""What follows from what was loaded: root extends what it likes after the boot, and gains nothing by it (attestation.md, step 12)."""

import pytest

from propolis.decisions.appraisal.member import _loaded
from propolis.decisions.appraisal.policy import Image

SHIM = Image(digest="0" * 64, name="shim", loader=True)
PLAIN = Image(digest="1" * 64, name="kernel")
LOCKED = Image(digest="2" * 64, name="locked kernel", claims=("lockdown",))
BOTH = Image(digest="3" * 64, name="node image", claims=("lockdown", "keeps-no-memory"))


@pytest.mark.parametrize(
    ("loaded", "claims"),
    [
        ([], set()),
        ([None], set()),
        ([SHIM], set()),  # it loaded something, or nothing: nobody knows what runs
        ([SHIM, None], set()),
        ([SHIM, LOCKED], {"known-image", "lockdown"}),
        ([BOTH], {"known-image", "lockdown", "keeps-no-memory"}),
        ([SHIM, PLAIN], {"known-image"}),
        ([SHIM, PLAIN, LOCKED], {"known-image"}),  # the locked one was extended by root of the plain one
        ([SHIM, LOCKED, BOTH], {"known-image", "lockdown"}),
        ([SHIM, BOTH, SHIM], {"known-image", "lockdown", "keeps-no-memory"}),
        ([BOTH, None], set()),
    ],
)
def test_a_claim_counts_where_all_that_stays_states_it(loaded, claims):
    assert _loaded(loaded) == claims
