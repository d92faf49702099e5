"""An identity key in a file only its user can read. Protects it from other users, not from root and not from a thief."""

import os
import secrets
import stat
from pathlib import Path

from propolis.crypto import identity
from propolis.terms.errors import ConfigError
from propolis.terms.identity import NodeId


class FileKeyHome:
    """One seed, created once, atomically, mode 0600."""

    def __init__(self, path: Path) -> None:
        """Read or create. Raises ConfigError naming the chmod to run when others could read the file."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            self._create()
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} is readable by others (mode {mode:o}); run: chmod 600 {path}")
        self._seed = path.read_bytes()
        if len(self._seed) != identity.SEED_BYTES:
            raise ConfigError(f"{path} is not an identity key; move it away to get a new identity")
        self._identity = identity.public_of(self._seed)

    def _create(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(identity.SEED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, self._path)  # fails when another process was first: its key wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()

    @property
    def identity(self) -> NodeId:
        """The public half."""
        return self._identity

    def sign(self, context: bytes, data: bytes) -> bytes:
        """Sign `data` for the purpose `context`."""
        return identity.sign(self._seed, context, data)

    def sign_token(self, data: bytes) -> bytes:
        """Sign a JWT's signing input."""
        return identity.sign_token(self._seed, data)

    def seed_for_wire(self) -> bytes:
        """Return the seed: the carrier's endpoint proves the same identity and must hold the key itself."""
        return self._seed
