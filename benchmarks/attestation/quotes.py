"""ECC P-256 quotes of a TPM, verified by us and by Keylime's `checkquote` on the same bytes.

Both begin with bytes and end with a verdict. Keylime is given what it wants (the key in PEM, the registers as tpm2-tools write
them); it parses its key, the signature, the attestation, and compares nonce and digest. We parse the same, and more is refused
on the way: see docs/benchmarks.md.
"""

import asyncio
import itertools
import logging
import struct
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import quote

PCRS = (0, 1, 2, 3, 4, 5, 6, 7)
QUOTES = 64  # different ones, so that nothing is answered from memory
CALLED = "keylime.tpm.tpm_util.checkquote"


class Quotes:
    """Quotes of one attestation key over eight registers, each with a nonce of its own; the nonce is text, as Keylime's is."""

    def __init__(self) -> None:
        attester = SoftwareAttester(b"bench")
        for pcr in PCRS:
            attester.registers[pcr] = bytes([pcr]) * 32
        self.ak = asyncio.run(attester.identity()).ak
        self.nonces = [f"{number:032d}" for number in range(QUOTES)]
        self.shown = [asyncio.run(attester.show(nonce.encode(), PCRS, Alg.SHA256)) for nonce in self.nonces]
        self.pem = _pem(self.ak)
        self.registers = as_tpm2_tools_write(self.shown[0].values)

    def ours(self) -> Callable[[], object]:
        """Return one verification, key and all read from bytes."""
        each, ak = itertools.cycle(zip(self.nonces, self.shown, strict=True)), self.ak

        def run() -> object:
            nonce, shown = next(each)
            asked = quote.Asked(binding=nonce.encode(), pcrs=PCRS)
            return quote.verify(public.parse(ak), shown.attest, shown.signature, shown.values, asked)

        return run

    def ours_with_a_known_key(self) -> Callable[[], object]:
        """Return one verification of a node whose key was read before."""
        each, ak = itertools.cycle(zip(self.nonces, self.shown, strict=True)), public.parse(self.ak)

        def run() -> object:
            nonce, shown = next(each)
            return quote.verify(
                ak, shown.attest, shown.signature, shown.values, quote.Asked(binding=nonce.encode(), pcrs=PCRS)
            )

        return run

    def keylimes(self) -> Callable[[], object] | None:
        """Return one verification by Keylime, or None where it is not installed."""
        logging.disable(logging.WARNING)  # it warns of its missing configuration when it is imported
        try:
            from keylime.tpm import tpm_util
        except ImportError:
            return None
        finally:
            logging.disable(logging.NOTSET)
        each: Iterator = itertools.cycle(zip(self.nonces, self.shown, strict=True))

        def run() -> object:
            nonce, shown = next(each)
            return tpm_util.checkquote(self.pem, nonce, shown.signature, shown.attest, self.registers, "sha256")

        return run


def _pem(area: bytes) -> bytes:
    key = public.parse(area).key
    assert key is not None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def as_tpm2_tools_write(values: dict[int, bytes]) -> bytes:
    """Return registers of the SHA-256 bank as `tpm2_quote --pcrs_format=serialized` does: C structures, little-endian."""
    mask = sum(1 << pcr for pcr in values).to_bytes(3, "little")
    selection = struct.pack("<I", 1) + struct.pack("<HB", Alg.SHA256, 3) + mask + bytes(2)
    selection += 15 * bytes(8)
    digests = [values[pcr] for pcr in sorted(values)]
    lists = [digests[at : at + 8] for at in range(0, len(digests), 8)]
    out = selection + struct.pack("<I", len(lists))
    for each in lists:
        out += struct.pack("<I", len(each))
        for digest in [*each, *[b""] * (8 - len(each))]:
            out += struct.pack("<H", len(digest)) + digest.ljust(64, b"\0")
    return out
