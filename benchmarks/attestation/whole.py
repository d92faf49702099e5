"""A whole appraisal: evidence of one node as it is kept in a file, with a firmware log of 50 KB and 800 IMA entries.

Unwrapped, endorsement checked up to its root, quote verified, both logs replayed and read, appraised, and the result signed as
an EAR. Real recordings where PROPOLIS_EVIDENCE names a folder of them; a minted equivalent of the same size otherwise.
"""

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.attestation.minting import mint, mint_tpm
from propolis.crypto import ear, identity
from propolis.decisions.appraisal import tpm2_bundle
from propolis.decisions.appraisal.judge import judge
from propolis.terms.trust import Tier

ENTRIES = 800
LOG, LIST = "eventlog/gtt_gdc-host.bin", "tpm/rk_ascii_runtime_measurements"
LOG_BYTES = 50_000
NONCE = mint.NONCE


def logs() -> tuple[bytes, bytes, str]:
    """Return firmware log, IMA list of 800 entries, and where they are from."""
    named = os.environ.get("PROPOLIS_EVIDENCE")
    if named and (Path(named) / LOG).is_file() and (Path(named) / LIST).is_file():
        lines = (Path(named) / LIST).read_bytes().splitlines(keepends=True)
        return (Path(named) / LOG).read_bytes(), b"".join(lines[:ENTRIES]), "recorded of real machines"
    return mint_tpm.firmware_log(LOG_BYTES), mint_tpm.ima_list(ENTRIES), "minted"


class Whole:
    """One node's evidence, and its appraisal from bytes to a signed result."""

    def __init__(self) -> None:
        firmware, measured, self.origin = logs()
        evidence = mint_tpm.evidence(firmware, measured)
        self.file = tpm2_bundle.written(evidence).encode()
        self.sizes = f"{len(firmware)} bytes of firmware log, {len(measured.splitlines())} IMA entries"
        self._roots = mint_tpm.maker_roots()
        self._endorsements = mint.endorsements()

    def appraisal(self) -> Callable[[], object]:
        """Return one appraisal; its result was looked at."""
        assert "secure-boot" in self._judged().verified.facts  # raises where the evidence is refused
        return self._whole

    def _judged(self):
        found = judge(
            "tpm2-quote",
            self.file,
            endorsements=self._endorsements,
            nonce=NONCE,
            roots=self._roots,
            now=mint.NOW,
        )
        assert found.ok, found.text
        assert found.verified.facts["measurements"] == ENTRIES
        assert found.verified.facts["endorsed"] is True
        return found

    def _whole(self) -> str:
        found = self._judged()
        appraisal = ear.Appraisal(status=Tier.WARNING, vector=found.appraised.vector, technology="tpm")
        result = ear.Result(
            iat=int(mint.NOW),
            exp=int(mint.NOW) + 600,
            node="00" * 32,
            verifier=ear.VerifierId("propolis", "bench"),
            submods={ear.SUBMODULE: appraisal},
        )
        return ear.sign(result, lambda data: identity.sign(b"s" * 32, b"ear", data))
