"""The tests' mint, which makes whole evidence of every technology under makers of our own; it lies with the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "evidence"))

import mint

__all__ = ["mint"]
