"""The tests' mint, which makes whole evidence of every technology under makers of our own; it lies with the tests."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
for folder in ("evidence", "unit/capabilities"):
    sys.path.insert(0, str(TESTS / folder))

import mint
import mint_tpm
import trees

__all__ = ["mint", "mint_tpm", "trees"]
