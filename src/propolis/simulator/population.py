"""Machines as they are: speeds log-normal as measured for volunteer hosts (mu 1.267, sigma 0.986,
in GFLOP/s as everywhere), limits varied."""

import random

from propolis.terms.capability import CapabilityReport, Isolation, Rung

SPEED_MU, SPEED_SIGMA = 1.267, 0.986


def device(number: int, dice: random.Random) -> CapabilityReport:
    """Return one machine's report."""
    rung = Rung.NAMESPACES if dice.random() < 0.8 else Rung.FLAT
    return CapabilityReport(
        name=f"sim-{number}",
        system="linux",
        machine="x86_64",
        python="3.11",
        slots=dice.choice((1, 1, 2, 4)),
        memory_mb=dice.choice((768, 1024, 2048, 4096)),
        speed=round(min(max(dice.lognormvariate(SPEED_MU, SPEED_SIGMA), 0.3), 40.0), 3),
        isolation=Isolation(rung=rung, landlock_abi=3),
    )
