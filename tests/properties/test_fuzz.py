"""Arbitrary bytes at every decoder that a stranger or a peer reaches: a value or the decoder's own typed error, nothing else.

Small in the suite; `make fuzz-properties` runs the same for longer (FUZZ_EXAMPLES each). Bytes are arbitrary, or true words with some bytes
changed, or well sealed nonsense of somebody who holds the keys of the channel.
"""

import asyncio
import contextlib
import os
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propolis.adapters.blobs.memory import MemoryBlobs
from propolis.adapters.wire.mux import SLICE, WINDOW, MuxChannel
from propolis.crypto.channel import HELLO_BYTES, Handshake, Sealer, _keys, _public
from propolis.crypto.identity import public_of
from propolis.messages import blobs, codec
from propolis.messages import envelope as env
from propolis.messages import guest as frames
from propolis.messages.jobs import JobMessage
from propolis.messages.membership import MembershipMessage, Role
from propolis.ports.wire import MAX_STREAMS
from propolis.runtime import invitation
from propolis.runtime.blob_service import BlobService, _Fetch
from propolis.terms.address import dialable, source
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential
from propolis.terms.errors import InvitationRefused, MalformedMessage, SealBroken, VersionMismatch, WireError
from propolis.terms.job import BlobRef, Receipt

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.timeout(max(120, EXAMPLES))

RECORDS = (
    env.Envelope, blobs.Manifest, blobs.Wanted, invitation.Invitation, Receipt, Credential, frames.Batch, frames.Born,
    frames.Loaded, frames.Broken, *get_args(JobMessage), *get_args(MembershipMessage),
)  # fmt: skip
SEED, OTHER = b"s" * 32, b"o" * 32


@st.composite
def msgpacked(draw):
    """Well-formed msgpack of shapes that records have, with any values in any place."""
    leaf = (
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=70) | st.text()
    )
    names = st.sampled_from(["manifest", "chunk", "join", "run-tasks", "open-guests", "resume", "submit", "answer", ""])
    tree = st.recursive(leaf | names, lambda inner: st.lists(inner, max_size=9), max_leaves=40)
    return codec.encode(draw(tree))


def changed(words):
    """True words, or such with bytes changed, cut out or put in."""

    @st.composite
    def mutate(draw):
        data = bytearray(draw(st.sampled_from(words)))
        for _ in range(draw(st.integers(0, 6))):
            at = draw(st.integers(0, len(data)))
            data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
        return bytes(data)

    return mutate()


def framed(header):
    return len(header).to_bytes(4, "big") + header


TRUE = [codec.encode([env.VERSION, 1, 2, 3, 4, [], None, [3, 5]]), codec.encode([env.VERSION, 9, 0, 0, 0])]
TRUE += [
    codec.encode([env.VERSION, 1, 1, n, 0, [2, 3], ["join", "node", b"t" * 16, None, ["10.0.0.1:5"]], [n]])
    for n in (1, 2)
]
ANYTHING = st.binary(max_size=400) | msgpacked() | changed(TRUE)


@given(
    st.lists(ANYTHING | ANYTHING.map(framed) | changed([framed(t) + b"x" * 8 for t in TRUE]), max_size=6),
    st.integers(1, 97),
)
@fuzz
def test_frames(pieces, step):
    reader, raw = env.FrameReader(), b"".join(pieces)
    with contextlib.suppress(MalformedMessage, VersionMismatch):
        for start in range(0, len(raw), step):
            for packet in reader.feed(raw[start : start + step]):
                assert len(packet.body) == len(packet.envelope.sizes)
                assert packet.envelope.version == env.VERSION
    assert len(reader._buffer) <= len(raw)


@given(ANYTHING)
@fuzz
def test_records(data):
    for kind in RECORDS:
        with contextlib.suppress(MalformedMessage):
            codec.decode(data, kind)


@given(st.text(max_size=300) | ANYTHING.map(lambda data: data.decode("latin-1")), st.booleans())
@fuzz
def test_invitations(text, begins):
    with contextlib.suppress(InvitationRefused):
        invitation.from_text(invitation.PREFIX + text if begins else text)


GIVEN = invitation.to_text(
    invitation.Invitation(fleet=b"f" * 32, addresses=("10.0.0.1:5",), token=b"t" * 16, role=Role.NODE)
)


@given(changed([GIVEN.encode()]), msgpacked())
@fuzz
def test_invitations_mistyped_or_well_summed_nonsense(text, data):
    import base64

    from blake3 import blake3

    summed = base64.b32encode(data + blake3(data).digest()[:4]).decode().rstrip("=").lower()
    for words in (text.decode("latin-1"), invitation.PREFIX + summed):
        with contextlib.suppress(InvitationRefused):
            invitation.from_text(words)


# -- the WebSocket's hello


@given(ANYTHING, ANYTHING)
@fuzz
def test_hello_and_proof_of_a_stranger(hello, proof):
    for first in (hello, hello[:HELLO_BYTES].ljust(HELLO_BYTES, b"\0"), bytes(HELLO_BYTES)):
        shake = Handshake(SEED, b"e" * 32)
        with contextlib.suppress(SealBroken):
            shake.answer(first)
            shake.accept(proof)


@given(ANYTHING, ANYTHING)
@fuzz
def test_answer_of_a_stranger(answer, more):
    shake = Handshake(SEED, b"e" * 32)
    shake.hello()
    with contextlib.suppress(SealBroken):
        shake.finish(answer + more, public_of(OTHER))


def sealed_by_the_client(plain):
    """A server that got a true hello, and what a client that holds the channel's key seals as its proof."""
    server, hello = Handshake(SEED, b"e" * 32), _public(b"c" * 32)
    answer = server.answer(hello)
    to_server, _ = _keys(b"c" * 32, answer[:HELLO_BYTES], hello, answer[:HELLO_BYTES])
    return server, Sealer(to_server).seal(plain)


@given(ANYTHING | st.tuples(st.binary(max_size=64), st.binary(max_size=100)).map(codec.encode))
@fuzz
def test_a_well_sealed_proof_of_nothing(plain):
    server, message = sealed_by_the_client(plain)
    with pytest.raises(SealBroken):
        server.accept(message)


HEADS = st.tuples(st.integers(0, 6), st.integers(0, 2**32 - 1) | st.integers(0, 300), st.binary(max_size=40))


@given(
    st.lists(ANYTHING | HEADS.map(lambda h: bytes([h[0]]) + h[1].to_bytes(4, "big") + h[2]), max_size=60), st.booleans()
)
@fuzz
def test_messages_inside_the_websocket(messages, dialled):
    async def main():
        async def send(data):
            pass

        channel = MuxChannel(public_of(OTHER), "", send, lambda: None, dialled=dialled)
        with contextlib.suppress(MalformedMessage):
            for message in messages:
                channel.take(message)
        assert len(channel._streams) <= MAX_STREAMS
        assert all(len(stream._inbox) <= WINDOW + SLICE for stream in channel._streams.values())
        assert len(channel._datagrams) <= 256
        await channel.close()

    asyncio.run(main())


# -- blob streams


class Stream:
    """Bytes to read in small pieces; what is written is counted."""

    def __init__(self, data, step):
        self.data, self.step, self.written = data, step, 0

    async def read(self, limit):
        taken, self.data = self.data[: min(limit, self.step)], self.data[min(limit, self.step) :]
        return taken

    async def write(self, data):
        self.written += len(data)

    async def finish(self):
        pass

    async def reset(self):
        pass


BLOBS = MemoryBlobs()
REF = BLOBS.put([b"chunk" * 1000])
ASKED = [
    framed(codec.encode(w)) for w in (blobs.ManifestWanted(blob=REF.blob), blobs.ChunkWanted(blob=REF.blob, number=0))
]


@given(st.lists(ANYTHING | ANYTHING.map(framed) | changed(ASKED), max_size=5), st.integers(1, 50))
@fuzz
def test_requests_for_blobs(pieces, step):
    stream = Stream(b"".join(pieces), step)
    with contextlib.suppress(WireError):
        asyncio.run(BlobService(BLOBS, None, lambda peer, blob: True).serve(public_of(OTHER), stream))
    assert stream.written <= len(pieces) * (blobs.MAX_ANSWER + 4) * 8


@given(ANYTHING | ANYTHING.map(framed), st.integers(1, 50), st.booleans())
@fuzz
def test_answers_of_a_holder(data, step, chunk):
    from propolis.protocols.blobs import fetch as f

    async def main():
        fetch = _Fetch(
            BlobService(MemoryBlobs(), None, lambda peer, blob: False), REF, [Contact(peer=OTHER, addresses=())]
        )
        ask = f.AskChunk(public_of(OTHER), 0) if chunk else f.AskManifest(public_of(OTHER))
        fetch._machine.handle(f.HolderFound(OTHER), 0.0)
        with contextlib.suppress(WireError):
            await fetch._ask(Stream(data, step), OTHER, ask)
            fetch._machine.handle(fetch._events.get_nowait(), 1.0)
            fetch._machine.check()

    asyncio.run(main())


@given(ANYTHING)
@fuzz
def test_manifests(data):
    for ref in (REF, BlobRef(blob=blobs.blake3(data).digest(), size=5)):
        with contextlib.suppress(MalformedMessage):
            blobs.manifest_for(ref, data)


# -- a guest's frames, and addresses


@given(
    st.lists(
        ANYTHING | ANYTHING.map(lambda d: framed(b"\x13" + d)) | ANYTHING.map(lambda d: framed(b"\x13" + framed(d))),
        max_size=5,
    )
)
@fuzz
def test_frames_of_a_guest(pieces):
    with contextlib.suppress(MalformedMessage):
        for _, payload in frames.Frames().feed(b"".join(pieces)):
            frames.open_batch(payload)


@given(st.lists(st.text(max_size=60) | st.from_regex(r"\[?[0-9a-f:.%]{0,40}\]?:[0-9]{0,6}"), max_size=8))
@fuzz
def test_addresses(told):
    taken = dialable(told, told)
    assert dialable(taken, told) == taken, "what was taken is taken again, as it is written"
    for text in told:
        source(text)
