"""The binding value: what ties evidence of any kind to who asked, for what, and to which key (docs/specs/attestation.md)."""

from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.terms.identity import NodeId

CONTEXT = b"propolis/attest-bind/1"
NONCE_BYTES = 32


class Purpose(StrEnum):
    """What evidence is for; evidence for one is none for another."""

    MEMBER = "member"
    GUEST = "guest"


def bind(nonce: bytes, node: NodeId, purpose: Purpose, *, key: bytes = b"", channel: bytes = b"") -> bytes:
    """Return the 32 bytes that a quote's qualifying data (report_data, nonce) must be.

    `key` = the ephemeral key the evidence vouches for, `channel` = what ties it to a session; empty where there is none.
    """
    digest = Hash(SHA256())
    for part in (CONTEXT, nonce, key, channel, bytes(node), purpose.encode("ascii")):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.finalize()
