"""What this machine offers, as its agent tells it, and a short calibration of its speed. Self-told, worth what the owner is."""

import math
import os
import platform
import time
from importlib import metadata

import numpy as np

from propolis.terms.capability import CapabilityReport, Detected, Isolation, Offer, Rung

CALIBRATION_SECONDS = 0.1
_SIDE = 64  # small enough that no linear algebra library uses a second thread
_OPERATIONS = 2 * _SIDE**3
_ROUNDS = 100  # products timed together: about a millisecond


def speed(seconds: float = CALIBRATION_SECONDS) -> float:
    """Return GFLOP/s of one core in float32 matrix products: the best short round, since interruptions only slow one down."""
    matrix = np.linspace(-1.0, 1.0, _SIDE * _SIDE, dtype=np.float32).reshape(_SIDE, _SIDE)
    best, started = math.inf, time.perf_counter()
    while best == math.inf or time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        for _ in range(_ROUNDS):
            matrix @ matrix
        best = min(best, time.perf_counter() - begun)
    return round(_ROUNDS * _OPERATIONS / max(best, 1e-9) / 1e9, 3)


def total_memory_mb() -> int:
    """Return the machine's memory; 1024 when the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    except (ValueError, OSError, AttributeError):
        return 1024


def cores() -> int:
    """Return the cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def offered(packages: tuple[str, ...]) -> tuple[str, ...]:
    """Return name==version of the offered packages that are installed; nothing is ever installed for a job."""
    found: list[str] = []
    for name in packages:
        try:
            found.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def report(
    *,
    name: str,
    slots: int,
    memory_mb: int,
    isolation: Isolation,
    packages: tuple[str, ...],
    kinds: tuple[str, ...],
    functions_from: Rung,
    offer: Offer,
    found: tuple[Detected, ...] = (),
    shows: tuple[str, ...] = (),
) -> CapabilityReport:
    """Return what the agent tells; zeros are found out."""
    count = slots or cores()
    return CapabilityReport(
        name=name or platform.node() or "node",
        system=platform.system().lower(),
        machine=platform.machine(),
        python=platform.python_version(),
        slots=count,
        memory_mb=memory_mb or max(256, total_memory_mb() // 2 // count),
        speed=speed(),
        isolation=isolation,
        packages=offered(packages),
        kinds=kinds,
        functions_from=functions_from,
        offer=offer,
        found=found,
        shows=shows,
    )
