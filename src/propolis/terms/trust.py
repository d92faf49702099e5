"""Attestation results as the field writes them: AR4SI trust vectors and tiers (draft-ietf-rats-ar4si), EAR status."""

from enum import IntEnum, StrEnum

import msgspec


class Tier(StrEnum):
    """What a trust claim's value amounts to (AR4SI 2.3.4)."""

    NONE = "none"
    AFFIRMING = "affirming"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"


class Value(IntEnum):
    """The values that we give (AR4SI 2.3.4); each belongs to the claims named in its comment."""

    MALFUNCTION = -1  # any: the verifier could not tell
    NO_CLAIM = 0  # any
    UNEXPECTED = 1  # any: evidence of a shape we did not expect
    RECOGNIZED = 2  # instance-identity, hardware "genuine", executables "approved runtime", configuration "approved"
    APPROVED_BOOT = 3  # executables: approved at boot, running code not measured
    UNSAFE = 32  # hardware, configuration: known weaknesses; executables: known not to be approved at runtime
    UNRECOGNIZED = 33  # executables: not recognised
    UNSUPPORTABLE = 36  # configuration: not safe to rely on
    UNTRUSTED = 97  # instance-identity: not recognised; hardware: not genuine
    CONTRAINDICATED = 96  # any: known to be bad
    CRYPTO_FAILED = 99  # any: a signature or chain that does not verify


CLAIMS = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)


def tier(value: int) -> Tier:
    """Return the tier of a claim's value, -128 to 127."""
    size = abs(value) if value < 0 else value
    if -1 <= value <= 1:
        return Tier.NONE
    if size < 32:
        return Tier.AFFIRMING
    return Tier.WARNING if size < 96 else Tier.CONTRAINDICATED


class Vector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """An AR4SI trustworthiness vector; 0 = no claim is made."""

    instance_identity: int = 0
    configuration: int = 0
    executables: int = 0
    file_system: int = 0
    hardware: int = 0
    runtime_opaque: int = 0
    storage_opaque: int = 0
    sourced_data: int = 0

    @property
    def status(self) -> Tier:
        """The worst tier of what is claimed; none where nothing is."""
        found = [tier(value) for value in msgspec.structs.astuple(self) if value]
        for worst in (Tier.CONTRAINDICATED, Tier.WARNING, Tier.AFFIRMING):
            if worst in found:
                return worst
        return Tier.NONE
