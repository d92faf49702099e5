"""What a machine can show of itself: evidence bound to a value, and the opening of credentials that were made for it.

Every implementation passes `propolis.testing.attester`. A machine without a TPM has none, and says so (software-key).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from propolis.terms.bound import Bound


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The keys a machine is known by: TPMT_PUBLIC of endorsement, attestation and storage key; the EK's certificate in DER.

    `manufacturer` and `emulated` are the machine's own word; a verifier concludes by itself.
    """

    ek: bytes
    certificate: bytes
    ak: bytes
    srk: bytes
    manufacturer: str
    emulated: bool


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One quote: TPMS_ATTEST, TPMT_SIGNATURE, the registers' values; the firmware's log and IMA's list as they were then.

    `srk_attest`, `srk_signature`: the attestation key's word on the storage key, bound to the same value.
    """

    attest: bytes
    signature: bytes
    srk_attest: bytes
    srk_signature: bytes
    values: Mapping[int, bytes]
    event_log: bytes = b""
    ima_list: bytes = b""


class Attester(Protocol):
    """One machine's hardware identity. Coroutines may take seconds on a slow chip; one runs at a time."""

    async def identity(self) -> Identity:
        """Return the keys. Raises TpmError."""
        ...

    async def show(self, binding: bytes, pcrs: Sequence[int], bank: int) -> Shown:
        """Quote these registers, bound to up to 64 bytes. Raises TpmError."""
        ...

    async def activate(self, blob: bytes, secret: bytes) -> bytes:
        """Open a credential made for our endorsement and attestation key. Raises TpmError: it was made for others."""
        ...

    async def unwrap(self, bound: Bound) -> tuple[bytes, bytes]:
        """Open both parts of what was sealed to this machine (crypto/tpm/bound.py). Raises TpmError: it is for others, or the
        registers moved."""
        ...

    async def close(self) -> None:
        """Give the TPM back; idempotent."""
        ...
