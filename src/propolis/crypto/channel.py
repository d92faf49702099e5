"""A mutually authenticated, encrypted message channel over any untrusted pipe; sans-IO: bytes in, bytes out.

docs/specs/websocket-channel.md numbers the steps: a SIGMA-I handshake (Krawczyk 2003) from X25519 and Ed25519, then
ChaCha20-Poly1305 with a key per direction and a counter as nonce, so a lost, repeated, reordered or reflected message does
not open. Ephemeral seeds are handed in.
"""

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from propolis.crypto import identity
from propolis.terms.errors import SealBroken
from propolis.terms.identity import NodeId

NAME = b"propolis/ws-channel/1"
HELLO_BYTES = 32
MAX_MESSAGES = 2**48


class Proof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who a side is, over its signature on the transcript."""

    identity: bytes
    signature: bytes


class Sealer:
    """One direction: seals or opens messages in order."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._count = 0

    def _nonce(self) -> bytes:
        if self._count >= MAX_MESSAGES:
            raise SealBroken("the channel carried as much as one key may")
        nonce = self._count.to_bytes(12, "little")
        self._count += 1
        return nonce

    def seal(self, plain: bytes) -> bytes:
        """Seal the next message."""
        return self._aead.encrypt(self._nonce(), plain, NAME)

    def open(self, sealed: bytes) -> bytes:
        """Open the next message. Raises SealBroken; the channel is over then."""
        try:
            return self._aead.decrypt(self._nonce(), sealed, NAME)
        except InvalidTag as error:
            raise SealBroken("a message of the channel does not open") from error


def _transcript(role: bytes, client_hello: bytes, server_hello: bytes, who: bytes) -> bytes:
    digest = Hash(SHA256())
    for part in (NAME, role, client_hello, server_hello, who):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.finalize()


def _public(seed: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _keys(seed: bytes, theirs: bytes, client_hello: bytes, server_hello: bytes) -> tuple[bytes, bytes]:
    try:
        shared = X25519PrivateKey.from_private_bytes(seed).exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise SealBroken("the peer's ephemeral key is no key") from error
    salt = _transcript(b"salt", client_hello, server_hello, b"")
    both = HKDF(algorithm=SHA256(), length=64, salt=salt, info=NAME).derive(shared)
    return both[:32], both[32:]


class Handshake:
    """One side of the handshake. Client: `hello`, then `finish(answer)`. Server: `answer(hello)`, then `accept(proof)`."""

    def __init__(self, seed: bytes, ephemeral: bytes) -> None:
        self._seed = seed
        self._ephemeral = ephemeral
        self._mine = identity.public_of(seed)
        self._client_hello = b""
        self._server_hello = b""

    def hello(self) -> bytes:
        """Client, step 1: our ephemeral key."""
        self._client_hello = _public(self._ephemeral)
        return self._client_hello

    def answer(self, hello: bytes) -> bytes:
        """Server, step 2: our ephemeral key, and sealed who we are. Raises SealBroken."""
        if len(hello) != HELLO_BYTES:
            raise SealBroken("not a hello")
        self._client_hello, self._server_hello = hello, _public(self._ephemeral)
        to_server, to_client = _keys(self._ephemeral, hello, hello, self._server_hello)
        self._receive, self._send = Sealer(to_server), Sealer(to_client)
        return self._server_hello + self._send.seal(self._proof(b"server"))

    def finish(self, answer: bytes, wanted: NodeId) -> tuple[bytes, Sealer, Sealer]:
        """Client, step 3: check who answers, say who we are. Returns (message, send, receive). Raises SealBroken."""
        self._server_hello = answer[:HELLO_BYTES]
        to_server, to_client = _keys(self._ephemeral, self._server_hello, self._client_hello, self._server_hello)
        send, receive = Sealer(to_server), Sealer(to_client)
        if self._checked(receive.open(answer[HELLO_BYTES:]), b"server") != wanted:
            raise SealBroken("another key answers at this address")
        return send.seal(self._proof(b"client")), send, receive

    def accept(self, message: bytes) -> tuple[NodeId, Sealer, Sealer]:
        """Server, step 4: check who came. Returns (peer, send, receive). Raises SealBroken."""
        return self._checked(self._receive.open(message), b"client"), self._send, self._receive

    def _proof(self, role: bytes) -> bytes:
        text = _transcript(role, self._client_hello, self._server_hello, self._mine)
        return msgspec.msgpack.encode(Proof(self._mine, identity.sign(self._seed, identity.CHANNEL, text)))

    def _checked(self, data: bytes, role: bytes) -> NodeId:
        try:
            proof = msgspec.msgpack.decode(data, type=Proof)
        except msgspec.MsgspecError as error:
            raise SealBroken("not a proof of identity") from error
        text = _transcript(role, self._client_hello, self._server_hello, proof.identity)
        identity.verify(NodeId(proof.identity), identity.CHANNEL, text, proof.signature)
        return NodeId(proof.identity)
