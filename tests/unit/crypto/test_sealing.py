"""Seals open at their own position with their own key, and nowhere else."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from propolis.crypto import granting, identity, sealing
from propolis.terms.errors import SealBroken

SECRET, JOB, GUEST = b"s" * 32, b"j" * 16, b"g" * 16
MINE = X25519PrivateKey.generate()
ROOTS = granting.roots_for(SECRET, JOB, GUEST, MINE.public_key().public_bytes_raw())


@given(st.binary(max_size=200), st.integers(0, 10**6))
def test_inputs_open_only_at_their_position(plain, index):
    sealed = sealing.seal_input(ROOTS.inputs, JOB, index, plain)
    assert sealing.open_input(ROOTS.inputs, JOB, index, sealed) == plain
    for job, at in ((JOB, index + 1), (b"k" * 16, index)):
        with pytest.raises(SealBroken):
            sealing.open_input(ROOTS.inputs, job, at, sealed)


@pytest.mark.parametrize(("guest", "index", "attempt"), [(b"h" * 16, 1, 2), (GUEST, 2, 2), (GUEST, 1, 3)])
def test_results_open_only_at_their_position(guest, index, attempt):
    sealed = sealing.seal_result(ROOTS.results, JOB, GUEST, 1, 2, b"r")
    assert sealing.open_result(ROOTS.results, JOB, GUEST, 1, 2, sealed) == b"r"
    with pytest.raises(SealBroken):
        sealing.open_result(ROOTS.results, JOB, guest, index, attempt, sealed)


def test_roots_differ_and_a_guest_cannot_derive_anothers():
    other = granting.roots_for(SECRET, JOB, b"h" * 16, MINE.public_key().public_bytes_raw())
    assert len({ROOTS.program, ROOTS.inputs, ROOTS.results, other.results}) == 4
    assert ROOTS.program == other.program


def test_two_guests_under_one_id_share_no_result_root():
    twin = granting.roots_for(SECRET, JOB, GUEST, X25519PrivateKey.generate().public_key().public_bytes_raw())
    assert twin.results != ROOTS.results
    assert (twin.program, twin.inputs) == (ROOTS.program, ROOTS.inputs)


SIZES = [0, 1, sealing.PROGRAM_CHUNK - 1, sealing.PROGRAM_CHUNK, sealing.PROGRAM_CHUNK + 1, 3 * sealing.PROGRAM_CHUNK]


@pytest.mark.parametrize("size", SIZES)
def test_programs_open_whole(size):
    plain = os.urandom(size)
    assert sealing.open_program(ROOTS.program, JOB, b"".join(sealing.seal_program(ROOTS.program, JOB, plain))) == plain


def test_a_cut_extended_or_reordered_program_does_not_open():
    chunks = list(sealing.seal_program(ROOTS.program, JOB, bytes(3 * sealing.PROGRAM_CHUNK)))
    for wrong in (chunks[:2], [chunks[1], chunks[0], chunks[2]], [*chunks, chunks[2]], [], [chunks[0] + b"x"]):
        with pytest.raises(SealBroken):
            sealing.open_program(ROOTS.program, JOB, b"".join(wrong))


def test_a_grant_opens_for_its_guest_alone():
    mine, other = MINE, X25519PrivateKey.generate()
    sealed = granting.seal_grant(SECRET, JOB, GUEST, mine.public_key().public_bytes_raw())
    assert granting.open_grant(mine, JOB, GUEST, sealed) == ROOTS
    for key, job, guest in ((other, JOB, GUEST), (mine, b"k" * 16, GUEST), (mine, JOB, b"h" * 16)):
        with pytest.raises(SealBroken):
            granting.open_grant(key, job, guest, sealed)
    for broken in (b"", sealed[:-1], sealed[:40], bytes(len(sealed))):
        with pytest.raises(SealBroken):
            granting.open_grant(mine, JOB, GUEST, broken)


@pytest.mark.parametrize("key", [bytes(32), b"short", b""])
def test_a_useless_guest_key_gets_no_grant(key):
    with pytest.raises(SealBroken):
        granting.seal_grant(SECRET, JOB, GUEST, key)


def test_a_signature_serves_one_purpose():
    me = identity.public_of(SECRET)
    signature = identity.sign(SECRET, identity.RECEIPT, b"x")
    identity.verify(me, identity.RECEIPT, b"x", signature)
    for who, context, data in (
        (me, identity.CHANNEL, b"x"),
        (me, identity.RECEIPT, b"y"),
        (bytes(32), identity.RECEIPT, b"x"),
    ):
        with pytest.raises(SealBroken):
            identity.verify(who, context, data, signature)
