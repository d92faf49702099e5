"""Ed25519 identities: one key is name, channel and signature of a node. Every signature states what it is for.

The signed bytes are `context || 0x00 || data`, so that a signature made for one purpose never serves another
(docs/specs/identity.md, step 2).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.terms.errors import ProtocolMisuse, SealBroken
from propolis.terms.identity import NodeId

SEED_BYTES = 32
SIGNATURE_BYTES = 64

RECEIPT = b"propolis/receipt/1"
CHANNEL = b"propolis/channel/1"
TOKEN = b"eyJ"  # base64url of '{"'


def public_of(seed: bytes) -> NodeId:
    """Return the identity whose private half is the 32-byte `seed`."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return NodeId(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def framed(context: bytes, data: bytes) -> bytes:
    """Return the bytes that are really signed: purpose first."""
    return context + b"\x00" + data


def sign(seed: bytes, context: bytes, data: bytes) -> bytes:
    """Sign `data` for the purpose `context`; 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(framed(context, data))


def sign_token(seed: bytes, data: bytes) -> bytes:
    """Sign a JWT's signing input, which begins with its header in base64url: no other purpose of ours begins so.

    Raises ProtocolMisuse.
    """
    if not data.startswith(TOKEN):
        raise ProtocolMisuse("only a token is signed without its purpose before it")
    return Ed25519PrivateKey.from_private_bytes(seed).sign(data)


def verify(signer: NodeId, context: bytes, data: bytes, signature: bytes) -> None:
    """Check a signature. Raises SealBroken: wrong key, purpose, bytes, or a key that is no key."""
    try:
        Ed25519PublicKey.from_public_bytes(signer).verify(signature, framed(context, data))
    except (InvalidSignature, ValueError) as error:
        raise SealBroken("a signature does not verify") from error
