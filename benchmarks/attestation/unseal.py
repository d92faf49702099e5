"""Unsealing on an emulated TPM: load, salted and encrypted session, PolicyPCR, unseal, flush. Wall-clock time.

Beside it the same object opened by tpm2-tools, one process a command, where they are installed: most of that is the start of
three processes, which is what a script pays.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from propolis.adapters.tpm.client import OWNER, Tpm
from propolis.adapters.tpm.lines import SocketLine
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm import policy, public
from propolis.crypto.tpm.ids import SessionKind
from propolis.terms.errors import TpmMissing

TIMES = 60
PCRS = (7,)
SECRET = b"s" * 32
TOOLS = ("tpm2_createprimary", "tpm2_create", "tpm2_load", "tpm2_unseal", "tpm2_flushcontext", "tpm2_pcrread")


class Machine:
    """swtpm on two loopback ports, as the tools want it."""

    def __enter__(self) -> "Machine":
        self._folder = tempfile.TemporaryDirectory()
        self.port = _two_free_ports()
        words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder.name}"]
        words += ["--server", f"type=tcp,port={self.port}", "--ctrl", f"type=tcp,port={self.port + 1}"]
        self._process = subprocess.Popen([*words, "--flags", "not-need-init,startup-clear"])
        for _ in range(500):
            try:
                self.line().close()
                return self
            except TpmMissing:
                time.sleep(0.01)
        raise TpmMissing("swtpm does not listen")

    def line(self) -> SocketLine:
        return SocketLine(("127.0.0.1", self.port))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def _two_free_ports() -> int:
    """Return a port that is free together with the next one."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            try:
                other.bind(("127.0.0.1", one.getsockname()[1] + 1))
            except OSError:
                continue
            return one.getsockname()[1]


def ours(machine: Machine) -> list[float]:
    """Return seconds of each unsealing, the storage key in place."""
    times = []
    with Tpm(machine.line(), SystemEntropy()) as tpm, tpm.primary(OWNER, public.srk_ecc()) as srk:
        digest = policy.pcr(policy.EMPTY, tpm.pcr_read(PCRS))
        with tpm.session(srk) as session:
            sealed = tpm.seal(srk, session, SECRET, digest)
        for _ in range(TIMES):
            started = time.perf_counter()
            with (
                tpm.session(srk) as session,
                tpm.loaded(srk, sealed, session) as item,
                tpm.session(srk, kind=SessionKind.POLICY) as proof,
            ):
                tpm.policy_pcr(proof, PCRS)
                opened = tpm.unseal(item, proof)
            times.append(time.perf_counter() - started)
            assert opened == SECRET
    return times


def tools(machine: Machine) -> list[float] | None:
    """Return seconds of each unsealing by tpm2-tools, or None where they, or their way to swtpm, are missing."""
    if not all(map(shutil.which, TOOLS)):
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(tool: str, *words: object) -> bytes:
            tcti = f"swtpm:host=127.0.0.1,port={machine.port}"
            done = subprocess.run([tool, "-T", tcti, *map(str, words)], cwd=folder, capture_output=True, check=True)
            return done.stdout

        (folder / "secret").write_bytes(SECRET)
        try:
            run("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "srk.ctx")
            run("tpm2_flushcontext", "-t")
            _seal(run)
        except subprocess.CalledProcessError:
            return None
        times = []
        for _ in range(TIMES // 4):
            started = time.perf_counter()
            run("tpm2_load", "-Q", "-C", "srk.ctx", "-u", "s.pub", "-r", "s.priv", "-c", "s.ctx")
            run("tpm2_flushcontext", "-t")
            opened = run("tpm2_unseal", "-c", "s.ctx", "-p", "pcr:sha256:7")
            run("tpm2_flushcontext", "-t")
            times.append(time.perf_counter() - started)
            assert opened == SECRET
    return times


def _seal(run) -> None:
    run("tpm2_pcrread", "sha256:7", "-o", "pcrs")
    run("tpm2_createpolicy", "-Q", "--policy-pcr", "-l", "sha256:7", "-f", "pcrs", "-L", "policy")
    run("tpm2_create", "-Q", "-C", "srk.ctx", "-u", "s.pub", "-r", "s.priv", "-L", "policy", "-i", "secret")
    run("tpm2_flushcontext", "-t")
