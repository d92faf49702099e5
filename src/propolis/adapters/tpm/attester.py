"""A TPM as attester: identity, quotes, credentials. The line is open only while a command needs it; others wait their turn."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from propolis.adapters.tpm import keys
from propolis.adapters.tpm.client import Tpm
from propolis.crypto.tpm.ids import Alg, SessionKind
from propolis.ports.attester import Identity, Shown
from propolis.ports.entropy import Entropy
from propolis.ports.tpm import TpmLine
from propolis.terms.bound import Bound

T = TypeVar("T")
EVENT_LOG = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
IMA_LIST = Path("/sys/kernel/security/ima/binary_runtime_measurements")
MAX_LOG = 4 << 20


class TpmAttester:
    """One machine's TPM."""

    def __init__(
        self,
        line: Callable[[], TpmLine],
        entropy: Entropy,
        *,
        event_log: Path = EVENT_LOG,
        ima_list: Path = IMA_LIST,
    ) -> None:
        """`line` opens the way to the TPM; `event_log`, `ima_list`: where the kernel keeps them (root may read them)."""
        self._line = line
        self._entropy = entropy
        self._logs = (event_log, ima_list)
        self._turn = asyncio.Lock()

    async def identity(self) -> Identity:
        """Return the keys. Raises TpmError."""
        return await self._with(_identity)

    async def show(self, binding: bytes, pcrs: Sequence[int], bank: int) -> Shown:
        """Quote. Raises TpmError."""

        def quote(tpm: Tpm) -> Shown:
            with keys.attestation_key(tpm) as ak:
                before = [_read(path) for path in self._logs]
                made = tpm.quote(ak, pcrs, binding, bank)
                values = tpm.pcr_read(pcrs, bank)
                with keys.storage_key(tpm) as srk:
                    beside = tpm.certify(srk, ak, binding)
            return Shown(
                attest=made.attest,
                signature=made.signature,
                srk_attest=beside.attest,
                srk_signature=beside.signature,
                values=values,
                event_log=before[0],
                ima_list=_read(self._logs[1]) or before[1],  # it may have grown; the prefix that was quoted counts
            )

        return await self._with(quote)

    async def activate(self, blob: bytes, secret: bytes) -> bytes:
        """Open a credential. Raises TpmError."""

        def opened(tpm: Tpm) -> bytes:
            chosen = keys.endorsement(tpm)
            with keys.endorsement_key(tpm, chosen) as ek, keys.attestation_key(tpm) as ak:
                return tpm.activate(ak, ek, ek, blob, secret)

        return await self._with(opened)

    async def unwrap(self, bound: Bound) -> tuple[bytes, bytes]:
        """Open both parts. Raises TpmError."""

        def opened(tpm: Tpm) -> tuple[bytes, bytes]:
            chosen = keys.endorsement(tpm)
            with keys.endorsement_key(tpm, chosen) as ek, keys.attestation_key(tpm) as ak:
                one = tpm.activate(ak, ek, ek, bound.credential, bound.secret)
            with keys.storage_key(tpm) as srk:
                with tpm.session(srk) as session:
                    taken = tpm.import_wrapped(srk, session, bound.area, bound.duplicate, bound.seed)
                with (
                    tpm.session(srk) as session,
                    tpm.loaded(srk, taken, session) as item,
                    tpm.session(srk, kind=SessionKind.POLICY) as proving,
                ):
                    tpm.policy_pcr(proving, bound.pcrs, Alg.SHA256)
                    return one, tpm.unseal(item, proving)

        return await self._with(opened)

    async def close(self) -> None:
        """Nothing stays open between calls."""

    async def _with(self, call: Callable[[Tpm], T]) -> T:
        def run() -> T:
            with Tpm(self._line(), self._entropy) as tpm:
                return call(tpm)

        async with self._turn:
            return await asyncio.to_thread(run)


def _identity(tpm: Tpm) -> Identity:
    told, chosen = keys.maker(tpm), keys.endorsement(tpm)
    with keys.endorsement_key(tpm, chosen) as ek, keys.attestation_key(tpm) as ak, keys.storage_key(tpm) as srk:
        return Identity(
            ek=ek.public.raw,
            certificate=chosen.certificate,
            ak=ak.public.raw,
            srk=srk.public.raw,
            manufacturer=told.manufacturer,
            emulated=told.emulated,
        )


def _read(path: Path) -> bytes:
    """Return a log, empty where there is none or it is not ours to read: what needs it is not proven then."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(MAX_LOG)
    return b""
