"""The few findings a node tells its fleet, as states without values: for people to look at, and for nothing else.

Self-told. Admission and placement never read it (decisions/verdicts leaves it out of what makes machines alike).
"""

from propolis.terms.capability import Detected
from propolis.terms.finding import Findings

TOLD = (
    "tpm.chip", "tpm.emulated", "tpm.known-bad", "tpm.pluton", "firmware.secure-boot", "firmware.lockdown", "firmware.iommu",
    "storage.encryption", "memory.tme", "memory.sme", "memory.tsme", "tee.sev-guest", "tee.snp-guest",
    "tee.tdx-guest", "tee.cca-guest",
    "tee.nitro-enclave", "tee.sgx", "tee.op-tee", "tee.secure-enclave", "tee.vbs", "accelerator.nvidia-cc", "virtual.guest",
    "virtual.container",
)  # fmt: skip


def summary(findings: Findings) -> tuple[Detected, ...]:
    """Return what is there, of what is worth telling; contradicted facts are unknown, and left out."""
    return tuple((name, findings.fact(name).state) for name in TOLD if findings.fact(name).found)
