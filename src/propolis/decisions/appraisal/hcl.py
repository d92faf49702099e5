"""Azure's HCL report: a hardware report with the runtime data it vouches for (evidence.md, Z1-Z3).

Source: Microsoft, "Azure confidential VM guest attestation" (HCL report layout in azure-cvm-tooling, az-cvm-vtpm/src/hcl).
"""

from hashlib import sha256, sha384, sha512

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from propolis.crypto.cursor import Cursor
from propolis.decisions.appraisal import jsonic
from propolis.terms.errors import Rejected

MAX_REPORT = 64 * 1024  # bytes
MAX_RUNTIME = 16 * 1024
HARDWARE = 1184  # bytes reserved for the hardware's report
SNP, TDX = 2, 4
_MAGIC, _VERSIONS = b"HCLA", (1, 2)
_HASHES = {1: sha256, 2: sha384, 3: sha512}
_KEY = "HCLAkPub"


class Hcl(msgspec.Struct, frozen=True, kw_only=True):
    """A report taken apart; nothing is verified yet. `binding` = what the hardware's report data must be."""

    kind: int
    hardware: bytes
    runtime: bytes
    binding: bytes


def parse(data: bytes) -> Hcl:
    """Read a report. Raises Rejected: truncated, trailing, oversize, magic, version, tee, sig_algo."""
    if len(data) > MAX_REPORT:
        raise Rejected("oversize", f"an HCL report of {len(data)} bytes")
    cursor = Cursor(data)
    if cursor.take(4) != _MAGIC:
        raise Rejected("magic", "not an HCL report")
    version = cursor.number(4)
    if version not in _VERSIONS:
        raise Rejected("version", f"an HCL report of version {version}")
    cursor.take(24)  # size, request type, status, reserved: nobody vouches for these
    hardware = cursor.take(HARDWARE)
    cursor.take(8)  # size and version of the runtime data
    kind, hash_type = cursor.number(4), cursor.number(4)
    if kind not in (SNP, TDX):
        raise Rejected("tee", f"an HCL report of hardware type {kind}")
    if hash_type not in _HASHES:
        raise Rejected("sig_algo", f"an HCL report with hash type {hash_type}")
    runtime = cursor.sized(4, MAX_RUNTIME)
    cursor.zeros_to_the_end()
    binding = _HASHES[hash_type](runtime).digest().ljust(64, b"\0")
    return Hcl(kind=kind, hardware=hardware, runtime=runtime, binding=binding)


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime data says: the vTPM's attestation key, and the VM's configuration."""

    key: rsa.RSAPublicKey
    secure_boot: bool
    vm: str
    user_data: str


def runtime(data: bytes) -> Runtime:
    """Read runtime data. Raises Rejected: envelope_json, claim_missing, weak_key."""
    found = jsonic.members(jsonic.read(data))
    given = found.get("keys")
    keys = (
        [each for each in given if isinstance(each, dict) and each.get("kid") == _KEY]
        if isinstance(given, list)
        else []
    )
    if len(keys) != 1:
        raise Rejected("claim_missing", f"the runtime data names {len(keys)} keys {_KEY}")
    configuration = jsonic.members(found.get("vm-configuration") or {})
    vm, user = configuration.get("vmUniqueId"), found.get("user-data")
    return Runtime(
        key=_rsa(keys[0]),
        secure_boot=configuration.get("secure-boot") is True,
        vm=vm[:64] if isinstance(vm, str) else "",
        user_data=user[:256].lower() if isinstance(user, str) else "",
    )


def _rsa(key: dict[str, object]) -> rsa.RSAPublicKey:
    if key.get("kty") != "RSA":
        raise Rejected("key_type", "a vTPM's key that is not RSA")
    modulus, exponent = (_number(key.get(name)) for name in ("n", "e"))
    if not 2048 <= modulus.bit_length() <= 4096 or exponent != 65537:
        raise Rejected("weak_key", f"an RSA key of {modulus.bit_length()} bits with exponent {exponent}")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise Rejected("weak_key", "not an RSA modulus") from error


def _number(text: object) -> int:
    """Read a Base64urlUInt (RFC 7518, 2), at most 1 KB."""
    if not isinstance(text, str) or len(text) > 1366:
        raise Rejected("claim_missing", "a part of the vTPM's key is missing")
    return int.from_bytes(jsonic.base64_of(text, "a part of the vTPM's key"), "big")
