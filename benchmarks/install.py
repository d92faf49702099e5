"""From nothing to a first result: what an install weighs, and how long it takes without the download.

Wheels are fetched first and weighed; then a fresh environment installs them offline, starts a local fleet and runs one job.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import row, write

ROUNDS = 3
JOB = """
from propolis.sdk import Fleet
with Fleet() as fleet:
    assert fleet.map("def double(x):\\n    return 2 * x\\n", [21], entry="double", privacy="trusted-lenders") == [42]
"""


def run(*words, **options):
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, **options)


def wheels(folder):
    """Return the wheels an install needs, fetched."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "-w", folder, ".")
    return sorted(folder.glob("*.whl"))


def first_result(found, folder):
    """Return the seconds to install and to a first result, in a fresh environment and home."""
    environment, home = folder / "venv", folder / "home"
    started = time.monotonic()
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", *found)
    installed = time.monotonic() - started
    propolis = (python, "-m", "propolis", "--home", home)
    try:
        run(*propolis, "up", "-d", "-n", 2)
        run(python, "-c", JOB, env={"PROPOLIS_HOME": str(home), "PATH": "/usr/bin:/bin"})
        return installed, time.monotonic() - started
    finally:
        run(*propolis, "down")


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = wheels(Path(folder) / "wheels")
        ours = [path for path in found if not path.name.startswith(("onnxruntime-", "numpy-"))]
        weight = sum(path.stat().st_size for path in ours) / 1e6
        times = []
        for number in range(ROUNDS):
            (Path(folder) / str(number)).mkdir()
            times.append(first_result(found, Path(folder) / str(number)))
    write("install", [
        row("wheels_mb_besides_ort_and_numpy", round(weight, 1), "MB", "<= 30"),
        row("install_to_first_result_s", round(sorted(t for _, t in times)[ROUNDS // 2], 1), "s", "<= 60"),
        row("install_s", round(sorted(t for t, _ in times)[ROUNDS // 2], 1), "s"),
        row("slowest_round_s", round(max(t for _, t in times), 1), "s"),
        row("wheels", len(found), "wheels"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
