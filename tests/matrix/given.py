"""What the rows of the matrix begin with: evidence that holds, and ways to spoil it in one place."""

import asyncio

import mint
import mint_tpm
import msgspec

from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto.tpm import policy, public
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import MAGIC, Alg, Handle, Tag
from propolis.crypto.tpm.marshal import sized, u8, u16, u32, u64
from propolis.decisions.appraisal import quote, tpm2
from propolis.decisions.appraisal.judge import judge
from propolis.terms.errors import Rejected

P384 = mint.ec.SECP384R1
PCRS = (0, 4, 7)
CLOCK = Clock(clock=1000, resets=1, restarts=0, safe=True, firmware=0x2019102300163636)
ATTESTER = SoftwareAttester(b"matrix")
TOLD = asyncio.run(ATTESTER.identity())
AK = public.parse(TOLD.ak)
VALUES = {pcr: ATTESTER.registers[pcr] for pcr in PCRS}


def refusal(kind, data, endorsements, roots, *, nonce=mint.NONCE, now=mint.NOW):
    """Judge evidence; raise what a judgement says."""
    found = judge(kind, data, endorsements=endorsements, nonce=nonce, roots=roots, now=now)
    if not found.ok:
        raise Rejected(found.reason, found.text)
    return found


# -- quotes


def attested(
    *,
    magic=MAGIC,
    kind=Tag.ATTEST_QUOTE,
    extra=mint.NONCE,
    clock=CLOCK,
    selection=None,
    values=None,
    body=None,
    signer=None,
):
    """A TPMS_ATTEST; its body is a quote's unless `body` says otherwise."""
    times = u64(clock.clock) + u32(clock.resets) + u32(clock.restarts) + u8(clock.safe) + u64(clock.firmware)
    signer = public.qualified(AK, hierarchy=Handle.ENDORSEMENT) if signer is None else signer
    selection = policy.selection(PCRS, Alg.SHA256) if selection is None else selection
    digest = policy.pcr_digest(VALUES if values is None else values)
    end = selection + sized(digest) if body is None else body
    return u32(magic) + u16(kind) + sized(signer) + sized(extra) + times + end


def checked(attest=None, *, signature=None, values=None, ak=AK, **asked):
    """Verify a quote, signed by the key as it is unless a signature is given."""
    attest = attested() if attest is None else attest
    signature = ATTESTER._signed(attest) if signature is None else signature
    asked = quote.Asked(**{"binding": mint.NONCE, "pcrs": PCRS, **asked})
    return quote.verify(ak, attest, signature, VALUES if values is None else values, asked)


def selections(*banks):
    """A TPML_PCR_SELECTION of (bank, registers)."""
    out = u32(len(banks))
    for bank, pcrs in banks:
        out += u16(bank) + u8(3) + sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
    return out


def area(template, **changes):
    """The attestation key's area with other attributes or numbers."""
    return public.parse(changed_area(template, **changes))


def changed_area(template, *, without=0, more=0):
    attributes = int.from_bytes(template[4:8], "big") & ~int(without) | int(more)
    return template[:4] + u32(attributes) + template[8:]


# -- whole TPM evidence

LOG, LIST = mint_tpm.firmware_log(), mint_tpm.ima_list(4)
WHOLE = mint_tpm.evidence(LOG, LIST)


def examined(*, now=mint.NOW, roots=None, pool=(), before=None, **changes):
    evidence = msgspec.structs.replace(WHOLE, **changes)
    asked = quote.Asked(binding=mint.NONCE, pcrs=mint_tpm.PCRS, before=before)
    roots = mint_tpm.maker_roots() if roots is None else roots
    return tpm2.examine(evidence, asked, mint.endorsements(*pool), roots, now)
