"""Lines to a TPM on Linux: the kernel's resource-managed device, and the socket of an emulator.

The device counts as one writer per open file; a lock file keeps two agents of one machine from interleaving anyway.
"""

import os
import select
import socket
from pathlib import Path

from propolis.terms.errors import TpmError, TpmMissing

DEVICE = Path("/dev/tpmrm0")
MAX_RESPONSE = 4096
NO_EMULATOR = "start swtpm with this socket first; an emulated TPM is only to rehearse with"
SECONDS = 120.0  # an RSA key on a slow chip takes a minute


class DeviceLine:
    """`/dev/tpmrm0`: one write is a command, one read its whole response."""

    emulated = False

    def __init__(self, path: Path = DEVICE) -> None:
        """Open it for ourselves. Raises TpmMissing."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise TpmMissing(f"{path} is not there: this machine has no TPM 2.0, or its firmware hides it") from error
        except PermissionError as error:
            raise TpmMissing(f"{path} may not be used by this user") from error
        except OSError as error:
            raise TpmMissing(f"{path}: {error.strerror}") from error
        import fcntl  # Windows has none, and no such device

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise TpmError(f"{path} is in use by another agent of propolis") from error

    def transact(self, command: bytes) -> bytes:
        """Send one command, read its response. Raises TpmError."""
        try:
            os.write(self._file, command)
            ready, _, _ = select.select([self._file], [], [], SECONDS)
            if not ready:
                raise TpmError(f"the TPM did not answer within {SECONDS:g} s")
            return os.read(self._file, MAX_RESPONSE)
        except OSError as error:
            raise TpmError(f"the TPM is gone: {error.strerror}") from error

    def close(self) -> None:
        """Close it; the kernel flushes what was ours."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1  # a number that was given back may be somebody else's by now


class SocketLine:
    """swtpm's data channel, Unix or loopback TCP: raw commands and responses. It is no hardware root, ever."""

    emulated = True

    def __init__(self, where: Path | tuple[str, int]) -> None:
        """Connect. Raises TpmMissing."""
        self._socket = socket.socket(socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET)
        self._socket.settimeout(SECONDS)
        try:
            if isinstance(where, Path):
                _connect(self._socket, where)
            else:
                self._socket.connect(where)
        except OSError as error:
            self._socket.close()
            why = error.strerror or str(error)
            raise TpmMissing(f"no emulated TPM answers at {where}: {why}", hint=NO_EMULATOR) from error

    def transact(self, command: bytes) -> bytes:
        """Send one command, read its response. Raises TpmError."""
        try:
            self._socket.sendall(command)
            head = self._exactly(10)
            size = int.from_bytes(head[2:6], "big")
            if not 10 <= size <= MAX_RESPONSE:
                raise TpmError(f"the TPM announced a response of {size} bytes")
            return head + self._exactly(size - 10)
        except OSError as error:
            raise TpmError(f"the emulated TPM is gone: {error}") from error

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self._socket.recv(size)
            if not part:
                raise TpmError("the emulated TPM hung up in the middle of an answer")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Hang up; idempotent."""
        self._socket.close()


def _connect(unix: socket.socket, path: Path) -> None:
    """Connect by way of an open folder: a socket's path has room for 107 bytes only."""
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        unix.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
