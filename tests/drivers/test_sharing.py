"""One home, many processes: requests beside a running job, a holder killed, a job that goes on when its command has ended."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from propolis.owner import keeper
from propolis.owner.control import SOCKET, SocketPath
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.terms.errors import UnknownJob

PRIVACY = "trusted-lenders"

HOLDER = """
import sys, time
from propolis.sdk import Fleet

def slow(x):
    import time
    time.sleep(0.02)
    return x * 2

with Fleet(sys.argv[1]) as fleet:
    job = fleet.submit_map("def slow(x):\\n    import time\\n    time.sleep(0.02)\\n    return x * 2\\n", range(400),
                           entry="slow", privacy="trusted-lenders", name="held")
    print(job.id, flush=True)
    job.wait()
    time.sleep(60)
"""


def double(x):
    return x * 2


@pytest.fixture
def local(tmp_path):
    fleet = LocalFleet(tmp_path, [NodeLimits(name=f"n{n}") for n in range(2)])
    fleet.start()
    yield fleet
    keeper.end(tmp_path / "owner")
    fleet.stop()


@pytest.fixture
def holder(local):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(local.home)], stdout=subprocess.PIPE, text=True)
    job = process.stdout.readline().strip()
    assert job
    yield process, job
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.timeout(120)
def test_a_second_process_asks_runs_and_follows_beside_the_first(local, holder):
    _, job = holder
    with Fleet(local.home) as fleet:
        assert not fleet._session.holds
        assert [node.state for node in fleet.nodes()] == ["up"] * 2
        assert fleet.invite("node")
        assert fleet.map(double, range(50), privacy=PRIVACY) == [2 * n for n in range(50)]
        held = fleet.job(job[:8])
        assert held.wait(timeout=60) == "done"
        assert held.results() == [2 * n for n in range(400)]
        assert {row.name for row in fleet.jobs()} == {"held", "double"}
        with pytest.raises(UnknownJob, match="no jobs begin with"):
            fleet.job("ffffffffff")


@pytest.mark.timeout(120)
def test_the_holder_killed_mid_job_hands_the_home_over(local, holder):
    process, job = holder
    with Fleet(local.home) as fleet:
        held = fleet.job(job)
        while held.finished < 30:
            held.wait(timeout=0.1)
        process.send_signal(signal.SIGKILL)
        assert held.wait(timeout=60) == "done"
        assert held.results() == [2 * n for n in range(400)]
        assert fleet._session.holds


@pytest.mark.timeout(120)
def test_a_keeper_sees_the_job_through_and_ends(local):
    with Fleet(local.home) as fleet:
        job = fleet.submit_map(HOLDER.split('"""', maxsplit=1)[0] and "def f(x):\n    import time\n    time.sleep(0.05)\n    return x\n",
                               range(60), entry="f", privacy=PRIVACY)  # fmt: skip
        fleet.keep()
        fleet.keep()
    deadline = time.monotonic() + 30
    while not keeper.pid_of(local.home / "owner") and time.monotonic() < deadline:
        time.sleep(0.05)
    while keeper.pid_of(local.home / "owner") and time.monotonic() < deadline + 30:
        time.sleep(0.2)
    with Fleet(local.home) as fleet:
        assert fleet._session.holds, "the keeper left when nothing was left to do"
        again = fleet.job(job.id)
        assert again.finished == 60, "the results were there before we came"
        assert again.results() == list(range(60))


@pytest.mark.timeout(120)
def test_many_at_once_share_one_home(local):
    found, lock = [], threading.Lock()

    def one(n):
        with Fleet(local.home) as fleet:
            got = fleet.map(double, [n, n + 1], privacy=PRIVACY)
            with lock:
                found.append((n, got))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [(n, [2 * n, 2 * n + 2]) for n in range(4)]


@pytest.mark.timeout(60)
def test_only_the_same_user_reaches_the_socket(local):
    with Fleet(local.home):
        path = local.home / "owner" / SOCKET
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if os.getuid() == 0:
            script = (
                "import os, socket, sys\nos.setgid(12345); os.setuid(12345)\n"
                "s = socket.socket(socket.AF_UNIX)\n"
                "try: s.connect(sys.argv[1])\nexcept OSError: print('refused')\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
            )
            assert "refused" in done.stdout
        with socket.socket(socket.AF_UNIX) as client:  # nonsense costs the connection, not the holder
            client.connect(str(path))
            client.sendall(b"\x00\x00\x00\x05hello")
            assert client.recv(10) == b""


def test_a_home_too_deep_for_a_socket_is_reached_all_the_same(tmp_path):
    deep = tmp_path.joinpath(*["a-long-folder-name"] * 8)
    deep.mkdir(parents=True)
    path = SocketPath(deep)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path.address)
        server.listen()
        client.connect(path.address)
    path.close()
    path.close()
