"""The file `vault`: a header that says how to get the key, and the index sealed by that key (docs/specs/vault.md, steps 1 to 3).

Everything here is read from a disk that somebody else may have written: bounded, strict, and believed only once the key
that it led to has authenticated it.
"""

import hmac
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from propolis.crypto.tpm import kdf
from propolis.crypto.tpm.ids import Alg
from propolis.terms.errors import DataError, VaultDamaged
from propolis.terms.vault import (
    MAX_APPROVALS,
    U32,
    U63,
    Approval,
    Bytes16,
    Bytes32,
    Conditions,
    Point,
    SealedKey,
    VaultId,
)

MAGIC = b"propolis-vault/1"
FORMAT = 1
MAC_BYTES = 32
MAX_HEADER = 32 * 1024
MAX_INDEX = 16 * 1024 * 1024
MAX_STATE = len(MAGIC) + 4 + MAX_HEADER + MAC_BYTES + MAX_INDEX
LEAST_COST, MOST_COST = 14, 20  # log2 of scrypt's N; 2^20 with r = 8 takes 1 GiB
MOST_P = 2  # read before anything is authentic: with the most of N, a forged header costs an opening 5 s


class TpmHome(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="tpm", forbid_unknown_fields=True):
    """The key lies sealed in a TPM. `storage` pins its storage key; `epoch_counter` 0 = none, `epoch_limit` its most."""

    storage: Annotated[bytes, msgspec.Meta(min_length=1, max_length=512)]
    sealed: SealedKey
    admin: Point
    series: U32
    pin: bool
    epoch_counter: U32
    epoch_limit: U63
    approvals: Annotated[tuple[Approval, ...], msgspec.Meta(min_length=1, max_length=MAX_APPROVALS)]


class PassphraseHome(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="passphrase", forbid_unknown_fields=True
):
    """The key is wrapped under scrypt of a passphrase. `cost` is log2 of N."""

    cost: Annotated[int, msgspec.Meta(ge=LEAST_COST, le=MOST_COST)]
    r: Annotated[int, msgspec.Meta(ge=8, le=8)]
    p: Annotated[int, msgspec.Meta(ge=1, le=MOST_P)]
    salt: Bytes16
    sealed: Annotated[bytes, msgspec.Meta(min_length=48, max_length=48)]


class Recovery(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The key sealed to the recovery code's public half (HPKE): it can be renewed without the code."""

    public: Bytes32
    sealed: Annotated[bytes, msgspec.Meta(min_length=80, max_length=80)]


class Header(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What is known without a key. `generation` counts changes, in step with the TPM's `counter` (0 = none counts)."""

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)]
    vault: Bytes16
    epoch: Annotated[int, msgspec.Meta(ge=1, lt=2**32)]
    generation: U63
    counter: U32
    home: TpmHome | PassphraseHome
    recovery: Recovery


class State(msgspec.Struct, frozen=True):
    """A state file taken apart: nothing of it is believed yet."""

    header: Header
    raw: bytes
    mac: bytes
    index: bytes


_decoder = msgspec.msgpack.Decoder(Header)


def conditions(header: Header) -> Conditions:
    """Return what the TPM demands for this header's key. Raises VaultDamaged for a header without a TPM."""
    if not isinstance(header.home, TpmHome):
        raise VaultDamaged("the header names no TPM")
    return conditions_of(VaultId(header.vault), header.home)


def conditions_of(vault: VaultId, home: TpmHome) -> Conditions:
    """Return what a TPM home demands in this vault."""
    return Conditions(home.admin, ref(vault, home.series), home.epoch_counter, home.epoch_limit, home.pin)


def ref(vault: VaultId, series: int) -> bytes:
    """Return what approvals are for: this vault, this series of approvals."""
    return b"propolis/vault/1" + vault + series.to_bytes(4, "big")


def derive(kek: bytes, vault: VaultId, label: bytes, *context: bytes) -> bytes:
    """Return a 32-byte key of the vault's key for one purpose; parts are length-prefixed."""
    info = b"propolis/vault/1 " + label + b"".join(len(part).to_bytes(4, "big") + part for part in context)
    return HKDF(algorithm=SHA256(), length=32, salt=vault, info=info).derive(kek)


def encode(header: Header) -> bytes:
    """Return the header's bytes: what is authenticated is these, never a re-encoding."""
    return msgspec.msgpack.encode(header)


def mac(kek: bytes, vault: VaultId, raw: bytes) -> bytes:
    """Return the header's authentication under the vault's key."""
    return kdf.hmac(Alg.SHA256, derive(kek, vault, b"header"), raw)


def digest(raw: bytes) -> bytes:
    """Return what ties an index to its header."""
    found = Hash(SHA256())
    found.update(raw)
    return found.finalize()


def join(kek: bytes, header: Header, sealed_index: bytes) -> bytes:
    """Return a state file. `sealed_index` was sealed for exactly this header.

    Raises DataError for a header that no opening would read: the recovery code would not open it either.
    """
    raw = encode(header)
    made = MAGIC + len(raw).to_bytes(4, "big") + raw + mac(kek, VaultId(header.vault), raw) + sealed_index
    try:
        split(made)
    except VaultDamaged as error:
        raise DataError(f"nothing was written: no opening would read the vault after it: {error}") from error
    return made


def split(data: bytes) -> State:
    """Take a state file apart. Raises VaultDamaged, naming the file, for every way it can be off."""
    at = len(MAGIC)
    size = int.from_bytes(data[at : at + 4], "big")
    if data[:at] != MAGIC or len(data) < at + 4:
        raise VaultDamaged("the file `vault` is none of ours, or of another version of propolis")
    if size > MAX_HEADER or not at + 4 + size + MAC_BYTES <= len(data) <= MAX_STATE:
        raise VaultDamaged("the file `vault` is cut or altered: its parts do not fit")
    raw = data[at + 4 : at + 4 + size]
    rest = data[at + 4 + size :]
    try:
        header = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise VaultDamaged(f"the file `vault` has a header that is none: {error}") from error
    if isinstance(header.home, TpmHome):
        _check(header.home)
    return State(header, raw, rest[:MAC_BYTES], rest[MAC_BYTES:])


def _check(home: TpmHome) -> None:
    for approval in home.approvals:
        registers = [register for register, _ in approval.values]
        if registers != sorted(set(registers)):
            raise VaultDamaged("the file `vault` approves registers out of order")


def authentic(kek: bytes, state: State) -> None:
    """Check that the header was written by who had the key. Raises VaultDamaged."""
    if not hmac.compare_digest(mac(kek, VaultId(state.header.vault), state.raw), state.mac):
        raise VaultDamaged("the file `vault` was altered: its header is not what its key signed")
