"""Paired timing: every contender in turn, again and again in one process, so that a busy machine slows all alike.

Rates are of CPU time (process_time) of one core: best and median of the rounds, and from the slowest to the fastest as spread.
"""

import statistics
import time
from collections.abc import Callable, Mapping

ROUNDS = 61
LEAST_SECONDS = 0.01  # of one contender's turn: process_time counts microseconds, a turn must be many of them


def _turn(run: Callable[[], object], count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        run()
    return (time.process_time() - started) / count


def _count(run: Callable[[], object]) -> int:
    """Return how often to run for one turn; warms caches on the way."""
    count = 1
    while _turn(run, count) * count < LEAST_SECONDS:
        count *= 2
    return count


def seconds(contenders: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return CPU seconds of one run, of every round, by contender; the order turns round by round."""
    counts = {name: _count(run) for name, run in contenders.items()}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            found[name].append(_turn(contenders[name], counts[name]))
        order.append(order.pop(0))
    return found


def rate(times: list[float]) -> dict[str, int]:
    """Return runs per second: the median, the best, and the spread."""
    return {
        "median": round(1 / statistics.median(times)),
        "best": round(1 / min(times)),
        "worst": round(1 / max(times)),
    }


def milliseconds(times: list[float]) -> dict[str, float]:
    """Return milliseconds of one run: the median, the best, and the spread."""
    return {
        "median": round(1e3 * statistics.median(times), 3),
        "best": round(1e3 * min(times), 3),
        "worst": round(1e3 * max(times), 3),
    }
