"""What a TPM demands for a vault's key, as policy digests and approvals (docs/specs/vault.md, steps 6 to 8).

PolicyAuthorize comes first and only it can be renewed; the epoch counter and the PIN come after it, so that whoever approves
a new state of the machine approves neither of them away.
"""

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.crypto.tpm import policy, public
from propolis.crypto.tpm.ids import Compare, NvAttribute
from propolis.terms.errors import VaultDamaged
from propolis.terms.vault import Approval, Conditions

COUNTER_ATTRIBUTES = (
    NvAttribute.COUNTER | NvAttribute.AUTH_WRITE | NvAttribute.AUTH_READ | NvAttribute.OWNER_READ | NvAttribute.NO_DA
    | NvAttribute.WRITTEN
)  # fmt: skip
"""Of a counter that was written once; its Name is part of the policy, so another kind of index in its place is refused."""

_SIGNED = ec.ECDSA(Prehashed(hashes.SHA256()))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half as it lies in a header: an uncompressed point of P-256."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def admin(conditions: Conditions) -> ec.EllipticCurvePublicKey:
    """Return the admin key. Raises VaultDamaged."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), conditions.admin)
    except ValueError as error:
        raise VaultDamaged("the admin key in the file `vault` is none") from error


def digest(conditions: Conditions) -> bytes:
    """Return the policy that the sealed object carries. Raises VaultDamaged."""
    name = public.parse(public.verifying_key(admin(conditions))).name
    found = policy.authorize(name, conditions.ref)
    if conditions.counter:
        index = policy.nv_counter_name(conditions.counter, COUNTER_ATTRIBUTES)
        found = policy.nv(found, index, operand(conditions), 0, Compare.UNSIGNED_LE)
    return policy.auth_value(found) if conditions.pin else found


def operand(conditions: Conditions) -> bytes:
    """Return what the epoch counter is compared with."""
    return conditions.limit.to_bytes(8, "big")


def approved(approval: Approval) -> bytes:
    """Return the policy digest that an approval approves."""
    return policy.pcr(policy.EMPTY, dict(approval.values))


def approve(key: ec.EllipticCurvePrivateKey, values: Mapping[int, bytes], ref: bytes) -> Approval:
    """Approve these registers."""
    ordered = tuple(sorted(values.items()))
    signed = policy.approval(policy.pcr(policy.EMPTY, values), ref)
    r, s = decode_dss_signature(key.sign(signed, _SIGNED))
    return Approval(ordered, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def halves(approval: Approval) -> tuple[int, int]:
    """Return r and s."""
    return int.from_bytes(approval.signature[:32], "big"), int.from_bytes(approval.signature[32:], "big")


def genuine(approval: Approval, conditions: Conditions) -> bool:
    """Whether the admin key made this approval. Raises VaultDamaged when there is no such key."""
    signed = policy.approval(approved(approval), conditions.ref)
    try:
        admin(conditions).verify(encode_dss_signature(*halves(approval)), signed, _SIGNED)
    except InvalidSignature:
        return False
    return True
