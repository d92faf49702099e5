"""What arrives from peers, guests, fork servers and invitations: frames, every record by its type, channels, values."""

import base64
import random
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import numpy as np
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fuzz import examples
from fuzz.target import Finish, Shape, Target
from fuzz.tpm import POLICY
from propolis.crypto import granting, identity
from propolis.crypto.channel import HELLO_BYTES, Handshake
from propolis.crypto.identity import public_of
from propolis.messages import blobs, codec, rows, values, zygote
from propolis.messages import envelope as env
from propolis.messages import guest as frames
from propolis.messages.attestation import AttestationMessage
from propolis.messages.jobs import JobMessage
from propolis.messages.membership import MembershipMessage, Role
from propolis.messages.program import Program
from propolis.owner import control
from propolis.protocols import policies, removals
from propolis.runtime import invitation
from propolis.terms.credential import Credential, Removals, SignedRemovals
from propolis.terms.errors import (
    ConfigError,
    DataError,
    InvitationRefused,
    MalformedMessage,
    PropolisError,
    SealBroken,
    VersionMismatch,
)
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import Receipt
from propolis.terms.policy import PolicyOrder, SignedPolicy

MALFORMED = (MalformedMessage,)
SEED, OTHER = b"s" * 32, b"o" * 32
RECORDS: dict[str, Any] = {
    "messages of jobs": JobMessage,
    "messages of membership": MembershipMessage,
    "messages of attestation": AttestationMessage,
    "requests for blobs": blobs.Wanted,
    "envelope of a packet": env.Envelope,
    "manifest": blobs.Manifest,
    "receipt": Receipt,
    "credential": Credential,
    "rows for people": rows.Rows,
    "program": Program,
    "words to a guest": frames.Order | frames.Batch,
    "words of a guest": frames.Born | frames.Loaded | frames.Broken,
    "words to the fork server": zygote.Request,
    "words of the fork server": zygote.Reply,
    "control of an owner": control.FromFollower,
    "control of a holder": control.FromHolder,
    "outcome of a task": values.Outcome,
}


def _kinds(kind: Any) -> tuple[Any, ...]:
    """Return what is decoded: a union of tagged records as it is, one of records without tags each by itself."""
    members = get_args(kind)
    if members and any(msgspec.inspect.type_info(member).tag is None for member in members):
        return members
    return (kind,)


def _record(name: str, kind: Any) -> Target:
    kinds = _kinds(kind)

    def run(data: bytes) -> None:
        for each in kinds[:-1]:
            try:
                codec.decode(data, each)
            except MalformedMessage:
                continue
            return
        codec.decode(data, kinds[-1])

    return Target(
        name=name,
        run=run,
        samples=lambda: examples.encoded(kind, random.Random(name)),
        shape=Shape.MSGPACK,
        refusals=MALFORMED,
    )


def _signed(name: str, opened: Callable[[Any, NodeId], Any], wrap: Any, sample: bytes, context: bytes) -> Target:
    """Orders that an operator signs: well signed, of odd content."""

    def run(data: bytes) -> None:
        opened(wrap(data=data, signature=identity.sign(SEED, context, data)), public_of(SEED))

    return _target(name, run, lambda: [sample], Shape.MSGPACK, MalformedMessage, SealBroken, ConfigError)


def _framed(header: bytes) -> bytes:
    return len(header).to_bytes(4, "big") + header


def _packets() -> list[bytes]:
    beat = codec.encode([env.VERSION, 9, 0, 0, 0])
    join = codec.encode([env.VERSION, 1, 1, 1, 0, [2, 3], ["join", "node", b"t" * 16, None, ["10.0.0.1:5"]], [3]])
    return [_framed(beat), _framed(join) + b"abc", _framed(beat) + _framed(join) + b"abc"]


def _frames(data: bytes) -> None:
    for step in (1, 7, len(data) or 1):
        reader, taken = env.FrameReader(), 0
        for start in range(0, min(len(data), 600 * step), step):
            for packet in reader.feed(data[start : start + step]):
                taken += 1
                assert len(packet.body) == len(packet.envelope.sizes)
        assert len(reader._buffer) <= len(data)


def _manifest(data: bytes) -> None:
    blobs.manifest_for(blobs.BlobRef(blob=blake3(data).digest(), size=5), data)


def _batches() -> list[bytes]:
    batch = frames.Batch(indices=(1, 2), attempts=(1, 1), sizes=(3, 2), milliseconds=(1.0, 2.0))
    return [frames.batch_frame(frames.Tag.RESULTS, batch, [b"abc", b"de"]), frames.frame(frames.Tag.KEY, b"xyz") * 2]


def _guest(data: bytes) -> None:
    for _, payload in frames.Frames().feed(data):
        frames.open_batch(payload)


def _values() -> list[bytes]:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 3)), np.array("text"), np.bool_(True)]
    return [values.encode({"a": [1, 2.5, None, True, b"x", "y"], "b": arrays}), *map(values.encode, arrays)]


def _invitation() -> bytes:
    made = invitation.Invitation(fleet=b"f" * 32, addresses=("10.0.0.1:5",), token=b"t" * 16, role=Role.NODE)
    return invitation.to_text(made).encode()


def _invited(data: bytes) -> None:
    invitation.from_text(data.decode("utf-8", "surrogateescape"))


def _summed(data: bytes) -> bytes:
    text = base64.b32encode(data + blake3(data).digest()[:4]).decode().rstrip("=").lower()
    return (invitation.PREFIX + text).encode()


def _inside_invitation() -> bytes:
    body = _invitation().decode().removeprefix(invitation.PREFIX).upper()
    return base64.b32decode(body + "=" * (-len(body) % 8))[:-4]


def _server(data: bytes) -> None:
    shake = Handshake(OTHER, b"e" * 32)
    shake.answer(data[:HELLO_BYTES])
    shake.accept(data[HELLO_BYTES:])


def _client(data: bytes) -> None:
    shake = Handshake(SEED, b"c" * 32)
    shake.hello()
    shake.finish(data, public_of(OTHER))


def _both() -> tuple[bytes, bytes, bytes]:
    client, server = Handshake(SEED, b"c" * 32), Handshake(OTHER, b"e" * 32)
    hello = client.hello()
    answer = server.answer(hello)
    return hello, answer, client.finish(answer, public_of(OTHER))[0]


def _at_rest(seed: bytes) -> Handshake:
    """Return a side that has heard both hellos."""
    shake = Handshake(seed, b"e" * 32)
    shake._client_hello, shake._server_hello = b"c" * HELLO_BYTES, b"h" * HELLO_BYTES
    return shake


def _proof(data: bytes) -> None:
    """A proof that opens, of odd content, as a peer that holds the channel's key may send."""
    _at_rest(SEED)._checked(data, b"server")


def _grant(data: bytes) -> None:
    private = X25519PrivateKey.from_private_bytes(b"g" * 32)
    granting.open_grant(private, JobId(b"j" * 16), GuestId(b"g" * 16), data)


GRANT = bytes.fromhex(  # of roots_for(b"s" * 32, ...): sealing draws its own chance, so one is kept
    "020d641c233705b465d608a8900ed73c7330c5c6d0f9ffe3cbb2751158375059808a9ad83c02164a7343b78b7e8bc0656342e950e4df4fc6fe4e7f79883dcedf1519a516ab1ffb9a0d1881e3aa5d58e2b045950696e8830fc7521853b56048cfc8ad0a9b7434815a9ca459520f85241622f107331dab9c6d26320823802815e719a9c53b8ecd34b27d9b2ad8576161764d26546f5f535d"
)


def _target(
    name: str, run: Callable[[bytes], Any], samples: Callable[[], list[bytes]], shape: Shape,
    *refusals: type[PropolisError], finish: Finish | None = None,
) -> Target:  # fmt: skip
    return Target(name=name, run=run, samples=samples, shape=shape, refusals=refusals or MALFORMED, finish=finish)


def targets() -> list[Target]:
    """Return them all."""
    order = PolicyOrder(fleet=NodeId(b"f" * 32), number=1, text=POLICY)
    return [
        *(_record(name, kind) for name, kind in RECORDS.items()),
        _target("frames of a peer", _frames, _packets, Shape.BINARY, MalformedMessage, VersionMismatch),
        _target("header of a packet", env.envelope_of, lambda: [p[4:] for p in _packets()[:1]], Shape.MSGPACK, MalformedMessage, VersionMismatch),
        _target("frames of a guest", _guest, _batches, Shape.BINARY),
        _target("values", values.decode, _values, Shape.BINARY, MalformedMessage, DataError),
        _target("manifest of a blob", _manifest, lambda: [codec.encode(blobs.Manifest(size=5, chunks=(blake3(b"bytes").digest(),)))], Shape.MSGPACK),
        _target("invitation", _invited, lambda: [_invitation()], Shape.TEXT, InvitationRefused),
        _target("invitation summed", _invited, lambda: [_inside_invitation()], Shape.MSGPACK, InvitationRefused, finish=_summed),
        _target("hello and proof", _server, lambda: [_both()[0] + _both()[2]], Shape.BINARY, SealBroken),
        _target("answer to a hello", _client, lambda: [_both()[1]], Shape.BINARY, SealBroken),
        _target("proof of identity", _proof, lambda: [_at_rest(OTHER)._proof(b"server")], Shape.MSGPACK, SealBroken),
        _target("grant", _grant, lambda: [GRANT], Shape.BINARY, SealBroken),
        _signed("removals signed", removals.opened, SignedRemovals, examples.encoded(Removals, random.Random(1))[0], removals.REMOVALS),
        _signed("policy order signed", lambda signed, who: policies.told(policies.opened(signed, who)), SignedPolicy, codec.encode(order), policies.POLICY),
    ]  # fmt: skip
