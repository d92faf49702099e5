"""Policy digests, computed without a TPM: what a sealed object may demand (Part 3, 23; SHA-256 throughout).

A policy is a chain: each assertion hashes itself onto the digest so far. The TPM runs the same commands and compares.
"""

from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.hashes import Hash

from propolis.crypto.tpm.ids import Alg, Command, Compare
from propolis.crypto.tpm.kdf import hash_of
from propolis.crypto.tpm.marshal import sized, u8, u16, u32
from propolis.terms.errors import Rejected

EMPTY = bytes(32)
PCRS = 24


def _digest(*parts: bytes) -> bytes:
    digest = Hash(hash_of(Alg.SHA256))
    for part in parts:
        digest.update(part)
    return digest.finalize()


def selection(pcrs: Iterable[int], bank: int = Alg.SHA256) -> bytes:
    """Return a TPML_PCR_SELECTION of one bank. Raises Rejected(pcr_select)."""
    bits = 0
    for pcr in pcrs:
        if not 0 <= pcr < PCRS:
            raise Rejected("pcr_select", f"there is no PCR {pcr}")
        bits |= 1 << pcr
    return u32(1) + u16(bank) + u8(3) + bits.to_bytes(3, "little")


def pcr_digest(values: Mapping[int, bytes], alg: int = Alg.SHA256) -> bytes:
    """Return the digest over PCR values in index order; `alg` = the policy's hash, in a quote the signature's (Part 2, 10.12.1).

    Raises Rejected(hash_alg).
    """
    digest = Hash(hash_of(alg))
    digest.update(b"".join([values[pcr] for pcr in sorted(values)]))
    return digest.finalize()


def pcr(before: bytes, values: Mapping[int, bytes], bank: int = Alg.SHA256) -> bytes:
    """PolicyPCR."""
    return _digest(before, u32(Command.POLICY_PCR), selection(values, bank), pcr_digest(values))


def auth_value(before: bytes) -> bytes:
    """PolicyAuthValue: whoever uses the object must know its auth value."""
    return _digest(before, u32(Command.POLICY_AUTH_VALUE))


def secret(before: bytes, entity: bytes, ref: bytes = b"") -> bytes:
    """PolicySecret of the entity with this Name."""
    return _digest(_digest(before, u32(Command.POLICY_SECRET), entity), ref)


def authorize(signer: bytes, ref: bytes) -> bytes:
    """PolicyAuthorize: whatever the holder of the key named `signer` approves under `ref`. It replaces what came before."""
    return _digest(_digest(EMPTY, u32(Command.POLICY_AUTHORIZE), signer), ref)


def approval(policy: bytes, ref: bytes) -> bytes:
    """Return the digest that PolicyAuthorize's signer signs to approve `policy`."""
    return _digest(policy, ref)


def nv(before: bytes, index_name: bytes, operand: bytes, offset: int, compare: Compare) -> bytes:
    """PolicyNV: the index holds what compares to the operand."""
    arguments = _digest(operand, u16(offset), u16(compare))
    return _digest(before, u32(Command.POLICY_NV), arguments, index_name)


def nv_counter_name(index: int, attributes: int, policy: bytes = b"") -> bytes:
    """Return the Name of a written 8-byte NV counter."""
    public = u32(index) + u16(Alg.SHA256) + u32(attributes) + sized(policy) + u16(8)
    return u16(Alg.SHA256) + _digest(public)
