"""What is asked of macOS: its own commands, of whose output only the lines asked for are kept (others hold serial numbers).

system_profiler takes about a second, so the bound is longer here. Written after the manual pages; not run on a Mac by this
house yet.
"""

import shutil

from propolis.adapters.probe.plan import Command, Plan, lines_with

SECONDS = 3.0
SYSCTL = (
    "sysctl", "hw.optional.arm64", "hw.memsize", "hw.ncpu", "machdep.cpu.brand_string", "kern.hv_vmm_present",
    "kern.hv_support", "kern.osproductversion", "kern.osrelease",
)  # fmt: skip


def free_mb() -> str:
    """Return the free room on the system's volume, in MB."""
    return str(shutil.disk_usage("/").free // 2**20)


PLAN = Plan(
    seconds=SECONDS + 0.5,
    calls={"free-mb": free_mb},
    commands=(
        Command(SYSCTL, seconds=SECONDS, partial=True),
        Command(("csrutil", "status"), seconds=SECONDS, keep=lines_with("System Integrity Protection status:")),
        Command(("fdesetup", "status"), seconds=SECONDS, keep=lines_with("FileVault is")),
        Command(("system_profiler", "SPiBridgeDataType"), seconds=SECONDS, keep=lines_with("Model Name:")),
        Command(("system_profiler", "SPDisplaysDataType"), seconds=SECONDS, keep=lines_with("Chipset Model:")),
    ),
)
