"""The default solver: one vectorised pass, fast and likely-to-stay nodes first, slots shared fairly between jobs."""

import numpy as np

from propolis.terms.placement import Ints, Placement, Problem


class GreedySolver:
    """Fills jobs in turn, a share each, best nodes first; the fewer nodes a job may use, the earlier its turn."""

    def solve(self, problem: Problem) -> Placement:
        """Return a valid placement: O(J N log N) in numpy."""
        free = problem.free.copy()
        left = problem.wanted.copy()
        guests = np.zeros(problem.allowed.shape, dtype=np.int64)
        if not guests.size:
            return Placement(guests=guests)
        speed = np.where(problem.speed > 0, problem.speed, _typical(problem))
        order = np.argsort(-(speed * problem.survival), kind="stable")
        rows = np.argsort(problem.allowed.sum(axis=1), kind="stable")
        for fair in (True, False):
            for turn, row in enumerate(rows):
                limit = self._share(free, left, rows[turn:]) if fair else int(left[row])
                taken = _take(problem.allowed[row], free, order, min(limit, int(left[row])))
                guests[row] += taken
                free -= taken
                left[row] -= int(taken.sum())
        return Placement(guests=guests)

    @staticmethod
    def _share(free: Ints, left: Ints, rows: Ints) -> int:
        waiting = int((left[rows] > 0).sum())
        return -(-int(free.sum()) // max(1, waiting))


def _typical(problem: Problem) -> float:
    known = problem.speed[problem.speed > 0]
    return float(np.median(known)) if known.size else 1.0


def _take(allowed: np.ndarray, free: Ints, order: Ints, wanted: int) -> Ints:
    """Return how many slots of each node a job gets: whole nodes in order until `wanted` is reached."""
    offered = np.where(allowed, free, 0)[order]
    before = np.cumsum(offered) - offered
    taken = np.zeros_like(free)
    taken[order] = np.clip(wanted - before, 0, offered)
    return taken
