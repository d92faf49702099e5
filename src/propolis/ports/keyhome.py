"""The key home: a private identity key as an address. It signs, it never leaves.

Every implementation passes `propolis.testing.keyhome`.
"""

from typing import Protocol

from propolis.terms.identity import NodeId


class KeyHome(Protocol):
    """A private identity key, as an address: it signs, it never leaves its home."""

    @property
    def identity(self) -> NodeId:
        """The public half."""
        ...

    def sign(self, context: bytes, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `data` for the purpose `context`."""
        ...

    def sign_token(self, data: bytes) -> bytes:
        """Return the signature over a JSON web token's signing input, as RFC 7515 has it. Raises ProtocolMisuse: it is none."""
        ...

    def seed_for_wire(self) -> bytes:
        """Return the 32-byte seed for the carrier's endpoint, which must prove the same identity itself."""
        ...
