"""A hostile function tries to get out of the sandbox. Judged from the host by decoys wherever the host can see the effect.

One test per attempt; docs/security/attacks.md lists them by these names. The guest returns "reached: ..." only when an
attempt worked inside; host-side decoys catch what it would not tell.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.terms.capability import Rung
from propolis.terms.errors import ExecutorError
from propolis.testing.executor import Owner

PRELUDE = """
import ctypes, errno, os, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)

def syscall(*args):
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def page():
    libc.mmap.restype = ctypes.c_void_p
    return libc.mmap(None, 65536, 3, 0x22, -1, 0)

def call(name, *args):
    function = getattr(libc, name)
    if function(*args) < 0:
        raise OSError(ctypes.get_errno(), name)

def main(decoy):
    try:
        return "reached: %r" % (attempt(decoy),)
    except OSError as error:
        return "refused: %s" % errno.errorcode.get(error.errno, error.errno)
    except Absent:
        return "refused: absent"

class Absent(Exception):
    "What was looked for is not there."
"""

REFUSALS = {"EPERM", "EACCES"}
HIDDEN = REFUSALS | {"ENOENT"}
"""With namespaces the host's files and processes are not there at all."""

EXPECTED = {
    "list_root": {"EACCES"}, "write_dev_shm": HIDDEN, "write_runtime": HIDDEN | {"EROFS"}, "write_etc": HIDDEN | {"EROFS"},
    "read_shadow": HIDDEN, "read_home_secret": HIDDEN, "list_home": HIDDEN, "write_home": HIDDEN, "proc_pid_mem": HIDDEN,
    "proc_pid_environ": HIDDEN, "hardlink_out": REFUSALS, "symlink_in": REFUSALS, "read_cgroup": HIDDEN,
    "sysctl_write": HIDDEN | {"EROFS"}, "inherited_descriptors": {"absent"}, "environment_secret": {"absent"},
    "see_host_processes": HIDDEN | {"absent"}, "agents_command_line": HIDDEN, "stat_oracle": HIDDEN,
    "raise_own_memory": REFUSALS, "count_idle": HIDDEN,
    # with namespaces a guest may change mode, times and length of files of its own: the host's are absent or read-only
    "chmod_secret": HIDDEN, "truncate_secret": HIDDEN, "utime_secret": HIDDEN, **dict.fromkeys(
        ("chmod_runtime", "utime_runtime", "truncate_runtime", "chmod_root", "utime_device", "utime_stdin", "chmod_device"),
        REFUSALS | {"EROFS"},
    ),
}  # fmt: skip

NOT_IN_FLAT = {"stat_oracle"}
"""Landlock does not cover stat: without namespaces a guest learns whether a path exists. Known, see the threat model."""

ORDINARY = {
    "read_home_secret", "list_home", "list_root", "write_home", "write_dev_shm", "tcp_loopback", "udp_loopback", "tcp_listen",
    "unix_path", "unix_abstract", "netlink_socket", "socketpair", "sysv_shm", "fork_once", "vfork_exec", "execve_replace",
    "memfd_create", "pidfd_open", "disarm_death_signal", "make_dumpable", "chmod_secret", "truncate_secret", "utime_secret",
    "stat_oracle", "fcntl_owner", "fcntl_lease", "signal_victim", "see_host_processes", "agents_command_line",
    "environment_secret", "proc_pid_environ", "setxattr_secret",
}  # fmt: skip
"""What an ordinary user may do unconfined: there the same attempt must succeed, or its refusal would show nothing."""

ATTEMPTS = {
    "read_home_secret": "return open(d['secret']).read()",
    "read_shadow": "return open('/etc/shadow').read()",
    "list_home": "return os.listdir(d['home'])",
    "list_root": "return os.listdir('/')",
    "write_home": "open(d['home'] + '/written', 'w').write('x')",
    "write_etc": "open('/etc/written', 'w').write('x')",
    "write_runtime": "open(os.path.join(os.path.dirname(os.__file__), 'written'), 'w').write('x')",
    "write_dev_shm": "open('/dev/shm/written', 'w').write('x')",
    "proc_pid_mem": "return open('/proc/%d/mem' % d['pid'], 'rb').read(1)",
    "proc_pid_environ": "return open('/proc/%d/environ' % d['pid'], 'rb').read()",
    "process_vm_readv": "return syscall(310, d['pid'], 0, 0, 0, 0, 0)",
    "ptrace_seize": "return syscall(101, 0x4206, d['pid'], 0, 0)",
    "pidfd_open": "return syscall(434, d['pid'], 0)",
    "signal_victim": "os.kill(d['pid'], 0)",
    "signal_agent": "os.kill(os.getppid() or 1, 9)",
    "tcp_loopback": "s = socket.socket(); s.connect(('127.0.0.1', d['tcp'])); s.send(b'x')",
    "mptcp_loopback": "s = socket.socket(2, 1, 262); s.connect(('127.0.0.1', d['tcp']))",
    "udp_loopback": "s = socket.socket(2, 2); s.sendto(b'x', ('127.0.0.1', d['udp']))",
    "tcp_listen": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()",
    "unix_path": "s = socket.socket(1); s.connect(d['unix'])",
    "unix_abstract": "s = socket.socket(1); s.connect('\\0' + d['abstract'])",
    "raw_socket": "socket.socket(2, 3, 1)",
    "packet_socket": "socket.socket(17, 3, 3)",
    "netlink_socket": "socket.socket(16, 3, 0)",
    "vsock_socket": "socket.socket(40, 1, 0)",
    "af_alg_socket": "socket.socket(38, 5, 0)",
    "socketpair": "socket.socketpair()",
    "sysv_shm": "return syscall(29, 0x7070, 4096, 0o1666)",
    "fork_once": "pid = os.fork(); pid or os._exit(0); return pid",
    "vfork_exec": "import subprocess; return subprocess.run(['/bin/true']).returncode",
    "execve_replace": "os.execv('/bin/true', ['true'])",
    "memfd_create": "return os.memfd_create('x')",
    "mount_tmpfs": "return syscall(165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "new_user_namespace": "return syscall(272, 0x10000000)",
    "setns": "return syscall(308, 0, 0)",
    "chroot": "os.chroot('/tmp')",
    "init_module": "return syscall(175, 0, 0, b'')",
    "bpf": "return syscall(321, 0, 0, 0)",
    "perf_event_open": "return syscall(298, 0, 0, -1, -1, 0)",
    "userfaultfd": "return syscall(323, 0)",
    "io_uring_setup": "return syscall(425, 1, ctypes.create_string_buffer(120))",
    "add_key": "return syscall(248, b'user', b'n', b'p', 1, -3)",
    "keyctl_session": "return syscall(250, 0, -3, 1)",
    "open_by_handle": "return syscall(304, -100, ctypes.create_string_buffer(64), 0)",
    "mknod_disk": "os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0))",
    "sysctl_write": "open('/proc/sys/kernel/core_pattern', 'w').write('x')",
    "setuid_root": "os.setuid(0)",
    "raise_own_memory": "import resource\n    try: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n    except ValueError as error: raise PermissionError(1, str(error))",
    "disarm_death_signal": "call('prctl', 1, 0, 0, 0, 0)",
    "make_dumpable": "call('prctl', 4, 1, 0, 0, 0)",
    "hardlink_out": "os.link(d['secret'], '/tmp/stolen')",
    "symlink_in": "os.symlink(d['secret'], '/tmp/way'); return open('/tmp/way').read()",
    "read_cgroup": "open('/sys/fs/cgroup/cgroup.procs', 'a').write('0')",
    "inherited_descriptors": "found = [n for n in range(3, 256) if n not in (10, 11) and _open(n)]\n    if not found: raise Absent\n    return found",
    "environment_secret": "if 'PROPOLIS_TEST_SECRET' not in os.environ: raise Absent\n    return os.environ['PROPOLIS_TEST_SECRET']",
    "see_host_processes": "found = [p for p in os.listdir('/proc') if p.isdigit()]\n    if len(found) < 2: raise Absent\n    return found",
    "chmod_secret": "os.chmod(d['secret'], 0o777)",
    "truncate_secret": "os.truncate(d['secret'], 10)",
    "utime_secret": "os.utime(d['secret'])",
    "chmod_runtime": "os.chmod(os.__file__, 0o777)",
    "utime_runtime": "os.utime(os.__file__)",
    "truncate_runtime": "os.truncate(os.__file__, 0)",
    "chmod_root": "os.chmod('/', 0o777)",
    "chmod_device": "os.chmod('/dev/null', 0o777)",
    "utime_device": "os.utime('/dev/null')",
    "utime_stdin": "os.utime(0)",
    "setxattr_secret": "os.setxattr(d['secret'], 'user.x', b'y')",
    "stat_oracle": "return os.stat(d['secret']).st_size",
    "fcntl_owner": "import fcntl; fcntl.fcntl(1, 8, os.getpid())",
    "fcntl_signal": "import fcntl; fcntl.fcntl(1, 10, 9)",
    "fcntl_lease": "import fcntl; fcntl.fcntl(os.open(os.__file__, 0) if d.get('confined') else os.open(d['secret'], 0), 1024, 0)",
    "fcntl_async": "import fcntl; fcntl.fcntl(1, 4, fcntl.fcntl(1, 3) | 0x2000)",
    "count_interrupts": "return open('/proc/stat').read()",
    "count_idle": "return open('/sys/devices/system/cpu/cpu0/cpuidle/state0/usage').read()",
    "host_connections": "return open('/proc/self/net/tcp').read()",
    "host_sockets": "return open('/proc/self/net/unix').read()",
    "host_neighbours": "return open('/proc/self/net/arp').read()",
    "host_network_by_thread": "return open('/proc/self/task/%d/net/tcp' % threading.get_native_id()).read()",
    "host_mounts": "return open('/proc/self/mountinfo').read()",
    "host_groups": "return open('/proc/self/cgroup').read()",
    "merge_memory": "return syscall(28, page(), 65536, 12)",
    "take_huge_pages": "return syscall(9, 0, 2 << 20, 3, 0x40022, -1, 0)",
    "agents_command_line": "return open('/proc/%d/cmdline' % os.getppid()).read()",
}  # fmt: skip

NOBODY = 65534

CONTROL = """
source, home = %r, %r
import os, socket, subprocess, sys, threading
space = {}
exec(source, space)
victim = subprocess.Popen(["/bin/sleep", "20"], env={"SECRET": "victim"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
tcp, udp, path, abstract = socket.socket(), socket.socket(2, 2), socket.socket(1), socket.socket(1)
tcp.bind(("127.0.0.1", 0)); udp.bind(("127.0.0.1", 0)); path.bind(home + "/s"); abstract.bind("\\0control%%d" %% os.getpid())
for listener in (tcp, path, abstract): listener.listen()
d = {"secret": home + "/secret", "home": home, "pid": victim.pid, "tcp": tcp.getsockname()[1], "udp": udp.getsockname()[1],
     "unix": home + "/s", "abstract": "control%%d" %% os.getpid()}
sys.stdout.flush()
answer = space["main"](d)
victim.kill()
print(answer)
"""


@pytest.fixture
def decoys(tmp_path, monkeypatch):
    """A secret, a victim process and listeners on the host; each records whether it was reached."""
    monkeypatch.setenv("PROPOLIS_TEST_SECRET", "leaked")
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("TOP SECRET")
    os.chmod(tmp_path, 0o755)
    for path in (home, home / "secret"):
        os.chmod(path, 0o777)  # only the sandbox stands in the way
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={"SECRET": "victim"})
    hits = []
    sockets = [
        socket.socket(),
        socket.socket(type=socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
    ]
    tcp, udp, path, abstract = sockets
    tcp.bind(("127.0.0.1", 0))
    udp.bind(("127.0.0.1", 0))
    path.bind(str(home / "s"))
    os.chmod(home / "s", 0o777)
    name = f"propolis-{secrets.token_hex(8)}"
    abstract.bind(f"\0{name}")
    for listener in (tcp, path, abstract):
        listener.listen()

    def watch(listener, receive):
        try:
            receive()
            hits.append(listener)
        except OSError:
            return

    threads = [threading.Thread(target=watch, args=(s, s.accept), daemon=True) for s in (tcp, path, abstract)]
    threads.append(threading.Thread(target=watch, args=(udp, lambda: udp.recv(10)), daemon=True))
    for thread in threads:
        thread.start()
    yield {
        "secret": str(home / "secret"), "home": str(home), "pid": victim.pid, "tcp": tcp.getsockname()[1],
        "udp": udp.getsockname()[1], "unix": str(home / "s"), "abstract": name,
    }  # fmt: skip
    assert not hits, "a listener of the host was reached"
    assert victim.poll() is None, "a process of the host was ended"
    assert sorted(os.listdir(home)) == ["s", "secret"], "the host's files were changed"
    victim.kill()
    victim.wait()
    for listener in sockets:
        if listener is not udp:
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def source_of(name):
    return (
        PRELUDE
        + "def _open(n):\n    try:\n        os.fstat(n)\n        return True\n    except OSError:\n        return False\n"
        + f"def attempt(d):\n    {ATTEMPTS[name]}\n    return 'done'\n"
    )


@pytest.mark.parametrize("rung", [Rung.NAMESPACES, Rung.FLAT], ids=lambda rung: rung.name)
@pytest.mark.parametrize("name", ATTEMPTS)
async def test_escape(name, rung, decoys):
    if rung is Rung.FLAT and name in NOT_IN_FLAT:
        pytest.skip("known and written down: Landlock does not cover it")
    executor = SandboxExecutor(warm=False)
    try:
        try:
            executor._reached = await executor._canary(rung)
        except ExecutorError as error:
            pytest.skip(f"not reached here: {error}")
        owner = Owner(source_of(name), memory_mb=256, task_seconds=5)
        (outcome,) = await owner.run(executor, [{**decoys, "confined": True}])
    finally:
        await executor.close()
    assert outcome.ok, f"{name} ended by a mistake of its own, so it shows nothing: {outcome.error}"
    answer = values.decode(outcome.value)
    refusal = answer.removeprefix("refused: ")
    assert refusal in EXPECTED.get(name, REFUSALS), f"{name}: {answer}"


@pytest.mark.parametrize("name", sorted(ORDINARY))
def test_the_attempt_works_where_nothing_confines(name, tmp_path):
    """As an ordinary user without a sandbox: the attempt is a real one, and its refusal inside is the sandbox's doing."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("TOP SECRET")
    program = CONTROL % (source_of(name), str(home))
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    for path in (home, home / "secret"):
        os.chmod(path, 0o777)
        if user:
            os.chown(path, NOBODY, NOBODY)
    for folder in list(home.parents)[:3]:
        if folder != Path("/tmp"):
            os.chmod(folder, 0o755)
    python = "/usr/bin/python3" if user else sys.executable  # ours may lie where only root may look
    done = subprocess.run(
        [python, "-I", "-c", program],
        capture_output=True, text=True, timeout=30, cwd="/", env={"PROPOLIS_TEST_SECRET": "leaked"}, **user,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert name == "execve_replace" or done.stdout.startswith("reached"), f"{name}: {done.stdout}"
    (home / "secret").unlink(missing_ok=True)
