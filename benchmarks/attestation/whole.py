"""A whole appraisal: evidence of one node as it is kept in a file, with a firmware log of 50 KB and 800 IMA entries.

Unwrapped, endorsement checked up to its root, quote verified, both logs replayed and read, appraised, and the result signed as
an EAR. Real recordings where PROPOLIS_EVIDENCE names a folder of them; a minted equivalent of the same size otherwise.
"""

import asyncio
import os
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path

from benchmarks.attestation.minting import mint
from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto import ear, identity
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import eventlog, ima, tpm2_bundle
from propolis.decisions.appraisal.endorsement import EK_PURPOSE
from propolis.decisions.appraisal.judge import judge
from propolis.decisions.appraisal.tpm2 import Evidence
from propolis.terms.trust import Tier

PCRS = (0, 1, 2, 3, 4, 5, 6, 7, 10)
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
    return firmware_log(LOG_BYTES), ima_list(ENTRIES), "minted"


def firmware_log(size: int) -> bytes:
    """Return a crypto-agile log of about `size` bytes: drivers as firmware measures them, then separators."""
    spec = b"Spec ID Event03\0" + bytes(4) + b"\0\2\0\2" + (2).to_bytes(4, "little")
    spec += b"\x04\0\x14\0" + b"\x0b\0\x20\0" + b"\0"
    out = bytearray(_u32(0) + _u32(3) + bytes(20) + _u32(len(spec)) + spec)
    number = 0
    while len(out) < size - 1000:
        out += _event(2, 0x80000004, number.to_bytes(4, "little") * 64)
        number += 1
    return bytes(out) + b"".join(_event(pcr, 4, bytes(4)) for pcr in range(8))


def _event(pcr: int, kind: int, data: bytes) -> bytes:
    digests = b"\x04\0" + sha1(data, usedforsecurity=False).digest() + b"\x0b\0" + sha256(data).digest()
    return _u32(pcr) + _u32(kind) + _u32(2) + digests + _u32(len(data)) + data


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def ima_list(count: int) -> bytes:
    """Return the text of an ima-ng list."""
    lines = []
    for number in range(count):
        path = f"/usr/lib/x86_64-linux-gnu/some-library-{number}.so.1".encode()
        file = sha256(path).digest()
        fields = [b"sha256:\0" + file, path + b"\0"]
        body = b"".join(len(field).to_bytes(4, "little") + field for field in fields)
        head = f"10 {sha1(body, usedforsecurity=False).hexdigest()} ima-ng sha256:{file.hex()} "
        lines.append(head.encode() + path + b"\n")
    return b"".join(lines)


class Whole:
    """One node's evidence, and its appraisal from bytes to a signed result."""

    def __init__(self) -> None:
        firmware, measured, self.origin = logs()
        attester = SoftwareAttester(b"bench")
        attester.registers.update(eventlog.replay(eventlog.parse(firmware), Alg.SHA256))
        attester.registers[10] = _running(measured)
        told, shown = asyncio.run(attester.identity()), asyncio.run(attester.show(NONCE, PCRS, Alg.SHA256))
        root = ("maker", mint.key("maker"))
        ek = public.parse(told.ek).key
        certificate = mint.certificate("ek", _Public(ek), root, authority=False, purposes=[EK_PURPOSE])
        evidence = Evidence(
            ak=told.ak,
            ek=told.ek,
            certificate=certificate,
            attest=shown.attest,
            signature=shown.signature,
            values=shown.values,
            event_log=firmware,
            ima_list=measured,
        )
        self.file = tpm2_bundle.written(evidence).encode()
        self.sizes = f"{len(firmware)} bytes of firmware log, {len(measured.splitlines())} IMA entries"
        self._roots = mint.roots(mint.certificate(*root))
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


def _running(measured: bytes) -> bytes:
    value = bytes(32)
    for entry in ima.parse_ascii(measured):
        digest = b"\xff" * 32 if entry.violation else sha256(entry.data).digest()
        value = sha256(value + digest).digest()
    return value


class _Public:
    """A key of which only the public half is at hand, for a certificate's builder."""

    def __init__(self, key: object) -> None:
        self._key = key

    def public_key(self) -> object:
        return self._key
