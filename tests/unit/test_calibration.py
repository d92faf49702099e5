"""Speed has one unit, GFLOP/s of a core: measured on a machine, drawn in the simulator."""

import random

from propolis.adapters.world import machine
from propolis.simulator.population import device


def test_calibration_is_positive_repeats_within_a_factor_and_is_in_gflops():
    first, second = machine.speed(), machine.speed()
    assert min(first, second) > 0
    assert max(first, second) < 3 * min(first, second)
    assert 0.05 < first < 5_000, "a core makes between 0.05 and 5,000 GFLOP/s, whatever it is"


def test_drawn_machines_are_in_the_same_unit():
    speeds = [device(n, random.Random(n)).speed for n in range(300)]
    assert all(0.3 <= speed <= 40 for speed in speeds)
    assert 2 < sorted(speeds)[150] < 6, "the median of volunteers' hosts"
