"""Of several answers on one thing the strongest counts, and one that was not given makes `unknown`, never `absent`."""

import pytest

from propolis.decisions.capabilities.look import best
from propolis.terms.finding import State


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ((State.ABSENT, State.ABSENT), State.ABSENT),
        ((State.ABSENT, State.UNKNOWN), State.UNKNOWN),
        ((State.UNKNOWN,), State.UNKNOWN),
        ((), State.UNKNOWN),
        ((State.UNKNOWN, State.PRESENT, State.ABSENT), State.PRESENT),
        ((State.PRESENT, State.USABLE, State.ENABLED), State.USABLE),
    ],
)
def test_what_was_not_told_is_never_absent(states, found):
    assert best(states) is found
