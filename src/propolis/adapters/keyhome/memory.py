"""A stand-in key home for tests: the seed is given and lives in memory."""

from propolis.crypto import identity
from propolis.terms.identity import NodeId


class MemoryKeyHome:
    """One seed in memory."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    @property
    def identity(self) -> NodeId:
        """The public half."""
        return identity.public_of(self._seed)

    def sign(self, context: bytes, data: bytes) -> bytes:
        """Sign `data` for the purpose `context`."""
        return identity.sign(self._seed, context, data)

    def sign_token(self, data: bytes) -> bytes:
        """Sign a JWT's signing input."""
        return identity.sign_token(self._seed, data)

    def seed_for_wire(self) -> bytes:
        """Return the seed for the carrier."""
        return self._seed
