"""Sealed streams: what goes in comes out; what is moved, cut, repeated, grown or of another key does not open."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.crypto import streaming
from propolis.crypto.streaming import CHUNK, Opener, Sealer, pieces, sealed_size
from propolis.terms.errors import SealBroken, TooLarge

KEY, PREFIX, ABOUT = b"k" * 32, b"prefix7", b"dataset/1"


def sealed(data, key=KEY, prefix=PREFIX, about=ABOUT):
    sealer = Sealer(key, prefix, about)
    return [sealer.seal(piece, last=last) for piece, last in pieces([data])]


def opened(chunks, key=KEY, prefix=PREFIX, about=ABOUT):
    opener = Opener(key, prefix, about)
    return b"".join(opener.open(n, chunk, last=n == len(chunks) - 1) for n, chunk in enumerate(chunks))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 3 * CHUNK + 5), st.integers(1, CHUNK))
def test_what_goes_in_comes_out_whatever_pieces_it_came_in(size, step):
    data = bytes(n % 251 for n in range(size))
    parts = [data[at : at + step] for at in range(0, size, step)]
    cut = list(pieces(parts))
    assert b"".join(piece for piece, _ in cut) == data
    assert [last for _, last in cut] == [False] * (len(cut) - 1) + [True]
    chunks = sealed(data)
    assert opened(chunks) == data
    assert sum(map(len, chunks)) == sealed_size(size)


CHUNKS = sealed(bytes(3 * CHUNK + 9))


@pytest.mark.parametrize(
    "changed",
    [
        CHUNKS[:-1], CHUNKS[1:], [CHUNKS[1], CHUNKS[0], *CHUNKS[2:]], [*CHUNKS, CHUNKS[-1]], [*CHUNKS[:2], *CHUNKS[1:]],
        [CHUNKS[0], CHUNKS[0], *CHUNKS[2:]], [*CHUNKS[:3], CHUNKS[3][:-1]], [b"", *CHUNKS[1:]],
    ],
)  # fmt: skip
def test_what_is_cut_moved_or_repeated_does_not_open(changed):
    with pytest.raises(SealBroken):
        opened(changed)


@pytest.mark.parametrize("other", [{"key": b"x" * 32}, {"prefix": b"prefix8"}, {"about": b"dataset/2"}])
def test_another_key_stream_or_name_opens_nothing(other):
    with pytest.raises(SealBroken):
        opened(CHUNKS, **other)


def test_after_the_last_chunk_and_in_odd_sizes_nothing_is_sealed():
    sealer = Sealer(KEY, PREFIX, ABOUT)
    with pytest.raises(TooLarge):
        sealer.seal(b"short", last=False)
    sealer.seal(b"", last=True)
    with pytest.raises(SealBroken):
        sealer.seal(b"", last=True)
    with pytest.raises(SealBroken):
        Opener(KEY, PREFIX, ABOUT).open(streaming.MAX_CHUNKS + 1, b"", last=True)


def test_a_chunk_that_is_too_short_for_its_place_does_not_open_even_under_the_right_key():
    """Places in a stream are counted in whole chunks: who reads from the middle would read something else."""
    short = AESGCM(KEY).encrypt(PREFIX + bytes(4) + b"\0", b"short", ABOUT)
    with pytest.raises(SealBroken):
        Opener(KEY, PREFIX, ABOUT).open(0, short, last=False)
