"""A node's TPM at work: which one, what it shows, what it opens. Only here the line is picked, an emulated one by name only."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from propolis.adapters.tpm.attester import EVENT_LOG, TpmAttester
from propolis.adapters.tpm.lines import DEVICE, DeviceLine, SocketLine
from propolis.adapters.tpm.rehearsal import BOOT_LOG
from propolis.adapters.tpm.tbs import TbsLine
from propolis.adapters.world.system import SystemEntropy
from propolis.crypto.binding import Purpose, bind
from propolis.crypto.tpm import bound
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import tpm2
from propolis.decisions.appraisal.policy import MEASUREMENTS
from propolis.messages import attestation as say
from propolis.messages import codec
from propolis.messages.envelope import Segment
from propolis.ports.attester import Attester
from propolis.ports.tpm import TpmLine
from propolis.protocols.attestation import events as ev
from propolis.protocols.jobs import vouching
from propolis.runtime import config
from propolis.runtime.driver import Driver
from propolis.terms.errors import SealBroken, TpmError, TpmMissing
from propolis.terms.identity import GuestId, JobId, NodeId
from propolis.terms.job import Challenge
from propolis.terms.text import without_paths

KIND = "tpm2-quote/1"
Evidence = tuple[say.Evidence, tuple[Segment, ...]]


def line_to(emulator: Path | None) -> Callable[[], TpmLine]:
    """Return how to open the TPM: `emulator` = the socket of an emulated one, None = this machine's own."""
    if emulator is not None:
        return lambda: SocketLine(emulator)
    if sys.platform == "win32":
        return TbsLine
    return lambda: DeviceLine(DEVICE)


def attester_of(emulator: Path | None) -> TpmAttester:
    """Return an attester over the machine's TPM, or an emulated one, whose firmware's log lies beside its socket."""
    log_file = emulator.with_name(BOOT_LOG) if emulator is not None else EVENT_LOG
    return TpmAttester(line_to(emulator), SystemEntropy(), event_log=log_file)


async def attester_here(settings: config.NodeFile, tell: Callable[[str, int], None]) -> TpmAttester | None:
    """Return what the node shows itself by; None where there is no TPM, or none it may use: an honest member without proof.

    `tell` is told why there is none, with a level of logging. Raises TpmError when an emulated one was asked for by name and
    does not answer.
    """
    if not settings.tpm:
        tell("this machine proves nothing: its lender keeps its TPM out (--tpm lets it in again)", logging.INFO)
        return None
    emulator = Path(settings.emulated_tpm) if settings.emulated_tpm else None
    attester = attester_of(emulator)
    try:
        await attester.identity()
    except TpmMissing as error:
        if emulator is not None:
            raise
        tell(f"this machine proves nothing: {error}", logging.INFO)
        return None
    except TpmError as error:
        if emulator is not None:
            raise
        tell(f"this machine proves nothing, its TPM is not used: {error}", logging.WARNING)
        return None
    return attester


async def evidence(emulator: Path | None, binding: bytes, pcrs: Sequence[int]) -> tpm2.Evidence:
    """Let the TPM quote these registers of its SHA-256 bank, bound to up to 64 bytes. Raises TpmError, TpmMissing."""
    attester = attester_of(emulator)
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


class Showing:
    """Evidence and credentials, as the attester machine and guests' grants ask for them."""

    def __init__(self, attester: Attester, node: NodeId) -> None:
        self._attester = attester
        self._node = node

    def attach(self, driver: Driver) -> None:
        """Do the attester machine's work."""
        driver.on(ev.Show, self._show)
        driver.on(ev.OpenCredential, self._open)

    async def _show(self, work: ev.Show) -> Evidence:
        return await self._shown(work.nonce, work.binding, work.pcrs, work.bank)

    async def _open(self, work: ev.OpenCredential) -> bytes:
        return await self._attester.activate(work.blob, work.secret)

    async def of_guest(self, job: JobId, guest: GuestId, key: bytes, challenge: Challenge) -> tuple[Segment, ...]:
        """Return what vouches for a guest's key: an encoded Evidence and its logs (docs/specs/job.md, step 5a)."""
        channel = vouching.channel(job, guest)
        binding = bind(challenge.nonce, self._node, Purpose.GUEST, key=key, channel=channel)
        try:
            said, logs = await self._shown(challenge.nonce, binding, challenge.pcrs, challenge.bank)
        except TpmError as error:
            said, logs = nothing(challenge, str(error))
        return (codec.encode(said), *logs)

    async def opened(self, job: JobId, guest: GuestId, sealed: bytes) -> bytes:
        """Return the guest's own grant out of one that is sealed to this machine (step 6b). Raises SealBroken, TpmError."""
        found = bound.read(sealed)
        parts = await self._attester.unwrap(found)
        return bound.opened(found, *parts, vouching.info(job, guest, self._node))

    async def _shown(self, nonce: bytes, binding: bytes, pcrs: Sequence[int], bank: int) -> Evidence:
        identity, shown = await asyncio.gather(self._attester.identity(), self._attester.show(binding, pcrs, bank))
        said = say.Evidence(
            nonce=nonce,
            kind=KIND,
            ek=identity.ek,
            certificate=identity.certificate,
            ak=identity.ak,
            srk=identity.srk,
            srk_attest=shown.srk_attest,
            srk_signature=shown.srk_signature,
            attest=shown.attest,
            signature=shown.signature,
            pcrs=tuple(shown.values),
            values=tuple(shown.values.values()),
        )
        measured = shown.ima_list if MEASUREMENTS in pcrs else b""
        return said, (shown.event_log, measured)


def nothing(challenge: Challenge, why: str) -> Evidence:
    """Return the evidence of a machine that has none, and says why."""
    return say.Evidence(nonce=challenge.nonce, kind="software-key/1", reason=without_paths(why)[:500]), (b"", b"")


def vouched_by_nothing(challenge: Challenge) -> tuple[Segment, ...]:
    """Return the same for a guest of a node without a TPM."""
    said, logs = nothing(challenge, "this machine has no TPM that it may use")
    return (codec.encode(said), *logs)


def sealed_in_vain() -> SealBroken:
    """Return what is said of a grant that is sealed to a TPM, where there is none."""
    return SealBroken("the grant is sealed to a TPM, and this node has none")
