"""A solver may be wrong: its answer is checked before use, costs a round and opens nothing that admission does not allow."""

import numpy as np
import pytest
from hub import EVIL, JOB, NODE, Hub

from propolis.adapters.solver.greedy import GreedySolver
from propolis.terms.capability import Isolation, Rung
from propolis.terms.placement import Placement

ANSWERS = {
    "everywhere": lambda p: np.full(p.allowed.shape, 1),
    "too many": lambda p: p.allowed * 100,
    "another shape": lambda p: np.zeros((7, 7), dtype=int),
    "parts of guests": lambda p: p.allowed * 0.5,
    "no array": lambda p: [[1]],
}


class Wrong:
    def __init__(self, answer):
        self.answer = answer

    def solve(self, problem):
        return Placement(guests=self.answer(problem))


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_wrong_answer_opens_nothing_and_the_next_round_is_asked_again(answer):
    hub = Hub()
    hub.solver = Wrong(ANSWERS[answer])
    hub.enter(NODE)
    hub.enter(EVIL, isolation=Isolation(rung=Rung.BARE))  # not admitted
    hub.upload()
    desk = hub.machine.desk
    assert not desk.guests
    assert any("placement failed" in text for text in desk.jobs[JOB].events)
    hub.solver = GreedySolver()
    hub.wait(30)
    assert {guest.node for guest in desk.guests.values()} == {NODE}
