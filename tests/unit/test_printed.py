"""What a task says on its way: prints, stderr (so warnings too) and logging are kept for its owner, and a cut is marked."""

from propolis.guest import work
from propolis.messages import codec, values
from propolis.messages.program import Program
from propolis.terms.job import Kind

TALKS = """
import logging, sys
print("while loading")
def f(x):
    logging.basicConfig(force=not x)
    print("out", x)
    print("err", x, file=sys.stderr)
    logging.getLogger("mine").warning("logged %d", x)
    return x
"""


def outcomes(source, entry, *inputs):
    compute = work.load(Program(kind=Kind.FUNCTION, source=source, entry=entry))
    return [codec.decode(work.outcome(compute, values.encode(value)), values.Outcome) for value in inputs]


def test_both_streams_logging_and_warnings_are_kept_task_by_task():
    first, second = outcomes(TALKS, "f", 0, 1)
    for word in ("while loading", "out 0", "err 0", "WARNING:mine:logged 0"):
        assert word in first.printed
    for word in ("out 1", "err 1", "WARNING:mine:logged 1"):
        assert word in second.printed
    assert "out 0" not in second.printed


def test_a_cut_is_marked():
    (found,) = outcomes("def f(x):\n    print('y' * 100_000)\n", "f", 1)
    assert "... cut: 34465 more characters; 64 kB are kept" in found.printed
    assert len(found.printed) < values.MAX_PRINTED


def test_what_cannot_be_written_down_is_replaced():
    (found,) = outcomes("def f(x):\n    print('\\ud800')\n", "f", 1)
    assert found.printed == "?\n"


def test_a_result_that_cannot_travel_says_so_without_our_own_lines():
    for text in ("10**40", "{1, object()}"):
        (found,) = outcomes(f"def f(x):\n    return {text}\n", "f", 1)
        assert not found.ok
        assert found.error.startswith("what the function returned: ")
        assert "Traceback" not in found.error
