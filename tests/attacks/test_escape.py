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

import pytest

from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.messages import values
from propolis.testing.executor import Owner

PRELUDE = """
import ctypes, os, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)

def syscall(*args):
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def main(decoy):
    try:
        return "reached: %r" % (attempt(decoy),)
    except BaseException as error:
        return "refused: %s" % type(error).__name__
"""

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
    "signal_agent": "os.kill(os.getppid(), 9)",
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
    "raise_own_memory": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "disarm_death_signal": "r = libc.prctl(1, 0, 0, 0, 0); assert r == 0; return r",
    "make_dumpable": "r = libc.prctl(4, 1, 0, 0, 0); assert r == 0; return r",
    "hardlink_out": "os.link(d['secret'], '/tmp/stolen')",
    "symlink_in": "os.symlink(d['secret'], '/tmp/way'); return open('/tmp/way').read()",
    "read_cgroup": "open('/sys/fs/cgroup/cgroup.procs', 'a').write('0')",
    "inherited_descriptors": "found = [n for n in range(3, 256) if n not in (10, 11) and _open(n)]; assert found; return found",
    "environment_secret": "return os.environ['PROPOLIS_TEST_SECRET']",
    "see_host_processes": "found = [p for p in os.listdir('/proc') if p.isdigit()]; assert len(found) > 1; return found",
    "agents_command_line": "return open('/proc/%d/cmdline' % os.getppid()).read()",
}  # fmt: skip


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


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_escape(name, decoys):
    body = ATTEMPTS[name]
    source = (
        PRELUDE
        + "def _open(n):\n    try:\n        os.fstat(n)\n        return True\n    except OSError:\n        return False\n"
        + f"def attempt(d):\n    {body}\n    return 'done'\n"
    )
    executor = SandboxExecutor(warm=False)
    try:
        (outcome,) = await Owner(source, memory_mb=256, task_seconds=5).run(executor, [decoys])
        answer = values.decode(outcome.value) if outcome.ok else "refused: raised"
    finally:
        await executor.close()
    assert answer.startswith("refused"), f"{name}: {answer}"
