"""The placement problem and its answer, as plain arrays of facts: no solver and no protocol knows the other."""

import msgspec
import numpy as np
import numpy.typing as npt

from propolis.terms.identity import JobId, NodeId

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Which node gives how many guest slots to which job.

    Shapes: J jobs, N nodes. `allowed[j, n]` already folds in requirement, packages, memory and refusals: a solver can
    choose among allowed pairs only, it cannot weaken one.
    """

    jobs: tuple[JobId, ...]
    nodes: tuple[NodeId, ...]
    wanted: Ints  # (J,) guests each job can still use
    free: Ints  # (N,) slots free on each node
    speed: Floats  # (N,) 10**9 float32 operations per second and slot (terms/capability.py: Gflops)
    survival: Floats  # (N,) chance to stay for the job's horizon, 0 to 1
    allowed: Mask  # (J, N)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """`guests[j, n]` = slots of node n given to job j. Shape (J, N)."""

    guests: Ints
