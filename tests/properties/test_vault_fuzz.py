"""Mutations of a vault's files, by the thousand: a typed refusal or what was stored, never anything else."""

import os
import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safe import Safe, by_passphrase, contents

from propolis.crypto.vault import code, index
from propolis.crypto.vault import state as files
from propolis.runtime.vault.vault import InTpm
from propolis.terms.errors import TpmError, VaultDamaged, VaultError, WrongSecret

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.timeout(max(120, EXAMPLES))


def made(wish):
    safe = Safe(wish)
    for n in range(3):
        safe.vault.put("name", [bytes([n])], keep=2)
    safe.vault.put("ä/..", [b""])
    return safe


SAFES = [made(InTpm()), made(by_passphrase())]
TRUE = [safe.folder.kept for safe in SAFES]
INDICES = [msgspec.msgpack.encode(tuple(safe.vault._desk.current.index.values())) for safe in SAFES]


def mutated(rng, data):
    """Change, cut out, put in, repeat or swap some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, size = rng.randrange(len(changed) + 1), rng.choice((0, 1, 1, 2, 4, 30))
        piece = rng.choice(
            (
                rng.randbytes(rng.choice((0, 1, 1, 2, 5))),
                b"\xff\xff\xff\xff",
                b"\xdd\xff\xff\xff\xff",
                data[at : at + size],
            )
        )
        changed[at : at + size] = piece
    return bytes(changed)


def test_mutated_state_files_are_refused_by_type():
    rng = random.Random(1)
    for n in range(EXAMPLES):
        data = mutated(rng, TRUE[n % 2])
        if data in TRUE:
            continue
        try:
            found = files.split(data)
        except VaultDamaged:
            continue
        with pytest.raises(VaultDamaged):
            believed(SAFES[n % 2].vault._desk.current.kek, found)


def believed(kek, found):
    files.authentic(kek, found)
    return index.open_index(kek, found.header.vault, found.index, files.digest(found.raw))


def test_mutated_state_files_open_in_no_tpm():
    """The whole way, over the stand-in: a refusal, or (where the mutation fell into nothing that counts) nothing at all."""
    rng, safe = random.Random(2), SAFES[0]
    for _ in range(EXAMPLES):
        data = mutated(rng, TRUE[0])
        if data == TRUE[0]:
            continue
        safe.folder.kept = data
        with pytest.raises((VaultError, TpmError)):
            safe.open()
    safe.folder.kept = TRUE[0]
    assert ("name", 3) in contents(safe.open())


def test_mutated_indices_are_read_or_refused_by_type():
    """Past the seal, for who holds the key: a reader that trusts nothing is a reader less to fear."""
    rng, refused = random.Random(3), 0
    for n in range(EXAMPLES):
        try:
            found = index.parse(mutated(rng, INDICES[n % 2]))
        except VaultDamaged:
            refused += 1
            continue
        assert all(name == entry.name for name, entry in found.items())
    assert refused > EXAMPLES // 4


@fuzz
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: files.MAGIC + data))
def test_anything_at_all_is_no_vault(data):
    with pytest.raises(VaultDamaged):
        files.split(data)


@fuzz
@given(st.text(max_size=80) | st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZilo- ", min_size=36, max_size=50))
def test_any_text_as_a_code(text):
    try:
        assert code.read(code.written(code.read(text))) == code.read(text)
    except WrongSecret:
        pass
