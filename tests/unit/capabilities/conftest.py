"""Tables the parsers are given, read once."""

import pytest

from propolis.runtime.known import known_weaknesses


@pytest.fixture(scope="session")
def weaknesses():
    return known_weaknesses()
