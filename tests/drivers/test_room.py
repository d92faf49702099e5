"""A full disk under a real orchestrator: new work is refused with the reason, what runs goes on, and room helps at once."""

import os
import subprocess
import time

import pytest

from propolis.adapters.blobs.files import RESERVE
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import RequirementUnmet

SPARE = 40 * 1024 * 1024


def double(x):
    return x * 2


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "orchestrator"
    folder.mkdir(mode=0o700)
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root; the refusal itself is tested in tests/unit/parties")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={RESERVE + SPARE}", "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(120)
def test_a_full_disk_refuses_new_work_by_name_and_room_lets_it_in_again(small_disk, tmp_path):
    with LocalFleet(tmp_path, [NodeLimits(name="n0")]) as local, Fleet(local.home) as fleet:
        assert fleet.map(double, [1], privacy="trusted-lenders") == [2]
        running = fleet.submit_map(
            "def slow(x):\n    import time\n    time.sleep(0.1)\n    return x\n",
            range(80),
            entry="slow",
            privacy="trusted-lenders",
        )
        while running.finished < 5:
            running.wait(timeout=0.1)
        (small_disk / "ballast").write_bytes(bytes(SPARE))
        time.sleep(3)
        refused = fleet.submit_map(double, [1], privacy="trusted-lenders")
        assert refused.wait(timeout=20) == "refused"
        with pytest.raises(RequirementUnmet, match="disk is full"):
            refused.results()
        (small_disk / "ballast").unlink()  # what runs got nothing new meanwhile, and goes on by itself
        assert running.wait(timeout=30) == "done"
        assert running.results() == list(range(80))
        assert fleet.map(double, [3], privacy="trusted-lenders") == [6]


@pytest.mark.timeout(120)
def test_a_program_comes_from_another_node_when_the_orchestrator_lost_it(tmp_path):
    source = (
        f"FILL = {'x' * 3_000_000!r}\ndef slow(x):\n    import time\n    time.sleep(0.1)\n    return x + len(FILL)\n"
    )
    with LocalFleet(tmp_path, [NodeLimits(name="n0")]) as local, Fleet(local.home) as fleet:
        job = fleet.submit_map(source, range(150), entry="slow", privacy="trusted-lenders")
        while job.finished < 5:
            job.wait(timeout=0.1)
        subprocess.run(["find", str(tmp_path / "orchestrator" / "blobs"), "-type", "f", "-delete"], check=True)
        local.start_node(NodeLimits(name="n1"), fleet.invite("node"))
        assert job.wait(timeout=60) == "done"
        assert job.results() == [x + 3_000_000 for x in range(150)]
        names = {row.node: row.report.name for row in fleet.nodes()}
        assert {names[item.node] for item in job.ran()} == {"n0", "n1"}
