"""One home, many processes: requests beside a running job, a holder killed, a job that goes on when its command has ended."""

import asyncio
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
from propolis.owner.holder import Holder
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


def await_keeper(home):
    """Wait until the keeper that was started is the one: it can be ended from then on."""
    deadline = time.monotonic() + 30
    while not keeper.pid_of(home) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture
def local(tmp_path):
    fleet = LocalFleet(tmp_path, [NodeLimits(name=f"n{n}") for n in range(2)])
    fleet.start()
    yield fleet
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
    await_keeper(local.home / "owner")
    deadline = time.monotonic() + 60
    while keeper.pid_of(local.home / "owner") and time.monotonic() < deadline:
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
        with socket.socket(socket.AF_UNIX) as client:  # nonsense costs the connection, not the holder
            client.connect(str(path))
            client.sendall(b"\x00\x00\x00\x05hello")
            assert client.recv(10) == b""


STRANGER = """
import os, socket, sys
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    client.settimeout(3)
    try:
        print("hung up on" if client.recv(1) == b"" else "answered")
    except TimeoutError:
        print("listened to")
"""


@pytest.mark.timeout(60)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="this kernel does not say who connects")
def test_another_user_is_hung_up_on_even_where_the_files_let_it_in(local):
    home = local.home / "owner"
    with Fleet(local.home):
        os.chmod(home, 0o711)  # as if the modes had failed: what is left is the question who connects
        os.chmod(home / SOCKET, 0o666)
        done = subprocess.run(
            [sys.executable, "-c", STRANGER, SOCKET], cwd=home, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "hung up on"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(home / SOCKET))
            client.settimeout(1)
            with pytest.raises(TimeoutError):  # we are listened to
                client.recv(1)


@pytest.mark.timeout(60)
def test_what_a_local_fleet_leaves_on_disk_is_its_users_alone(local):
    with Fleet(local.home) as fleet:
        assert fleet.map(double, range(3), privacy=PRIVACY) == [0, 2, 4]
        keeper.start(local.home / "owner")
        await_keeper(local.home / "owner")
        left = [path for path in local.home.rglob("*") if not path.is_symlink()]
        assert {"pids.json", "orchestrator.log", "keeper.log"} <= {path.name for path in left}
        others = [(str(p), oct(stat.S_IMODE(p.stat().st_mode))) for p in left if stat.S_IMODE(p.stat().st_mode) & 0o077]
        assert others == []


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


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(asyncio, "start_unix_server"), reason="no Unix sockets here")
def test_a_holder_that_ends_before_its_followers_says_nothing_to_the_terminal(tmp_path):
    """asyncio reports a cancelled talk as an exception of its callback: a traceback per follower."""
    said = []

    async def end_first():
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        holder = Holder(tmp_path, session=None)
        await holder.start()
        _, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET))
        while not holder._talks:
            await asyncio.sleep(0.01)
        await holder.close()
        await asyncio.sleep(0)
        writer.close()

    asyncio.run(end_first())
    assert said == []
