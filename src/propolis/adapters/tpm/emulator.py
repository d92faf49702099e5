"""swtpm as a process of ours: a TPM to rehearse with. It is no hardware root: whoever owns its folder owns its keys.

Made by Debian's packages swtpm and swtpm-tools; `manufacture` gives it an endorsement certificate of a test root, as a
vendor would.
"""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

from propolis.adapters.tpm.lines import SocketLine
from propolis.terms.errors import TpmMissing

START_SECONDS = 20.0
_CONFIG = "create_certs_tool = {tool}\ncreate_certs_tool_config = {config}\ncreate_certs_tool_options = {options}\n"


class Emulator:
    """One swtpm over a state folder. Its socket is short-lived and private; it takes one client at a time."""

    def __init__(self, state: Path) -> None:
        """Raises TpmMissing when swtpm is not installed."""
        if shutil.which("swtpm") is None:
            raise TpmMissing("swtpm is not installed", hint="apt install swtpm swtpm-tools")
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None
        state.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._state / "s"

    @property
    def pid(self) -> int:
        """Its process; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    def manufacture(self, root: Path) -> None:
        """Make endorsement keys and certificates under the test root in `root` (made at the first use). Raises TpmMissing."""
        if (self._state / "tpm2-00.permall").exists():
            return
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        tool = shutil.which("swtpm_localca") or "/usr/bin/swtpm_localca"
        (root / "localca.conf").write_text(
            f"statedir = {root}\nsigningkey = {root}/signkey.pem\nissuercert = {root}/issuercert.pem\n"
            f"certserial = {root}/certserial\n"
        )
        (root / "localca.options").write_text(
            "--platform-manufacturer Propolis\n--platform-version 1\n--platform-model rehearsal\n"
        )
        config = root / "setup.conf"
        config.write_text(_CONFIG.format(tool=tool, config=root / "localca.conf", options=root / "localca.options"))
        words = [
            "swtpm_setup",
            "--tpm2",
            "--tpmstate",
            str(self._state),
            "--create-ek-cert",
            "--lock-nvram",
            "--overwrite",
        ]
        words += ["--pcr-banks", "sha256", "--config", str(config)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        except FileNotFoundError as error:
            raise TpmMissing("swtpm_setup is not installed", hint="apt install swtpm-tools") from error
        if done.returncode:
            raise TpmMissing(f"swtpm_setup failed: {(done.stdout + done.stderr)[-300:]}")

    def start(self) -> None:
        """Start it and wait until it listens. Raises TpmMissing."""
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
        words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}", "--server", "type=unixio,path=s"]
        words += ["--flags", "not-need-init,startup-clear"]
        self._process = subprocess.Popen(
            words, cwd=self._state, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at a terminal is not a power cut
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None:
                raise TpmMissing(f"swtpm ended at once with status {self._process.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise TpmMissing("swtpm does not listen")
            time.sleep(0.01)

    def _listens(self) -> bool:
        """The file is there before anybody listens: only a connection tells."""
        try:
            self.line().close()
        except TpmMissing:
            return False
        return True

    def line(self) -> SocketLine:
        """Return a line to it. Raises TpmMissing."""
        return SocketLine(self.socket)

    def stop(self) -> None:
        """End it in good order: its clock is saved. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(START_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End it as a power cut does: kill -9. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
