"""Which TPM a node attests with: the machine's own, or by an explicit word an emulated one. Only here the line is picked."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from propolis.adapters.tpm.attester import TpmAttester
from propolis.adapters.tpm.lines import DEVICE, DeviceLine, SocketLine
from propolis.adapters.tpm.tbs import TbsLine
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import tpm2
from propolis.ports.tpm import TpmLine


def line_to(emulator: Path | None) -> Callable[[], TpmLine]:
    """Return how to open the TPM: `emulator` = the socket of an emulated one, None = this machine's own."""
    if emulator is not None:
        return lambda: SocketLine(emulator)
    if sys.platform == "win32":
        return TbsLine
    return lambda: DeviceLine(DEVICE)


async def evidence(emulator: Path | None, binding: bytes, pcrs: Sequence[int]) -> tpm2.Evidence:
    """Let the TPM quote these registers of its SHA-256 bank, bound to up to 64 bytes. Raises TpmError, TpmMissing."""
    attester = TpmAttester(line_to(emulator), SystemEntropy())
    identity, shown = await attester.identity(), await attester.show(binding, pcrs, Alg.SHA256)
    return tpm2.Evidence(
        ak=identity.ak,
        ek=identity.ek,
        certificate=identity.certificate,
        attest=shown.attest,
        signature=shown.signature,
        values=shown.values,
        event_log=shown.event_log,
        ima_list=shown.ima_list,
    )
