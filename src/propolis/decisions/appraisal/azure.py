"""Azure confidential VMs: hardware report -> runtime data -> vTPM key -> quote with the nonce (evidence.md, Z1-Z8).

Four links, each verified. The hardware speaks for Microsoft's paravisor at the highest privilege; the guest is measured by
the paravisor's vTPM. That is why the technology is its own, and not "sev-snp": no row credits it yet.
"""

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest
from propolis.crypto.tpm.ids import Alg, Tag
from propolis.decisions.appraisal import hcl, jsonic, snp, tdx
from propolis.decisions.appraisal.bundles import certificates_in
from propolis.decisions.appraisal.result import NO_REFERENCE, Appraised, Endorsements, Reference, Verified, exactly
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

TECHNOLOGY = "azure-cvm"
PCRS, PCR_SIZE = 24, 32
_HARDWARE = {hcl.SNP: snp.TECHNOLOGY, hcl.TDX: tdx.TECHNOLOGY}


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a bundle in JSON: HCL report, vTPM quote, and what its hardware needs. Raises Rejected."""
    bundle = jsonic.members(jsonic.read(evidence))
    report = hcl.parse(jsonic.octets(jsonic.member(bundle, "hcl_report", "report"), "HCL report"))
    hardware = _hardware(bundle, report, endorsements, roots, now)
    if hardware.facts["report-data"] != report.binding.hex():
        raise Rejected("binding", "the hardware does not vouch for this runtime data")
    runtime = hcl.runtime(report.runtime)
    quote = jsonic.member(bundle, "tpm_quote", "quote")
    message = jsonic.octets(jsonic.member(quote, "message"), "quote")
    attested = attest.parse(message)
    if attested.kind != Tag.ATTEST_QUOTE:
        raise Rejected("attest_type", "an attestation of the vTPM that is no quote")
    _signed(runtime.key, message, jsonic.octets(jsonic.member(quote, "signature"), "signature"))
    pcrs = _pcrs(attested, jsonic.member(quote, "pcrs"))
    fresh = exactly(nonce, attested.extra)
    return Verified(
        technology=TECHNOLOGY,
        identity=f"{hardware.identity} vtpm:{_fingerprint(runtime.key)}",
        facts={
            **hardware.facts,
            "hardware": _HARDWARE[report.kind],
            "secure-boot": runtime.secure_boot,
            "vm": runtime.vm,
            "user-data": runtime.user_data,
            "nonce": attested.extra.hex(),
            "resets": attested.clock.resets,
            "clock-safe": attested.clock.safe,
            **{f"pcr{place}": value.hex() for place, value in pcrs.items()},
        },
        fresh=fresh,
        until=hardware.until,
    )


def _fingerprint(key: rsa.RSAPublicKey) -> str:
    """Return a name for the vTPM's key: the runtime data around it changes from boot to boot."""
    return sha256(key.public_numbers().n.to_bytes(key.key_size // 8, "big")).hexdigest()


def _hardware(
    bundle: dict[str, object], report: hcl.Hcl, endorsements: Endorsements, roots: Roots, now: Seconds
) -> Verified:
    if report.kind == hcl.SNP:
        own = certificates_in(bundle.get("vcek"), "VCEK") if bundle.get("vcek") is not None else ()
        joined = Endorsements(certificates=own).joined(endorsements)
        return snp.verify(report.hardware, joined, None, roots, now)
    quote = jsonic.octets(jsonic.member(bundle, "td_quote"), "TD quote")
    return tdx.verify(quote, endorsements, None, roots, now)


def _signed(key: rsa.RSAPublicKey, message: bytes, signature: bytes) -> None:
    """Check the vTPM's signature: RSASSA with SHA-256, bare or as a TPMT_SIGNATURE."""
    if len(signature) != key.key_size // 8:
        parsed = attest.parse_signature(signature)
        if (parsed.scheme, parsed.hash_alg) != (Alg.RSASSA, Alg.SHA256):
            raise Rejected("sig_alg", "a vTPM's signature of another scheme")
        signature = parsed.rsa
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise Rejected("signature", "the vTPM's signature does not verify") from error


def _pcrs(attested: attest.Attested, given: object) -> dict[int, bytes]:
    """Return the quoted PCRs; the selection is the quote's own, and the values must hash to its digest (Z7)."""
    if not isinstance(given, list) or len(given) != PCRS:
        raise Rejected("pcr_missing", "not 24 PCR values")
    values = [jsonic.octets(each, "PCR") for each in given]
    if any(len(value) != PCR_SIZE for value in values):
        raise Rejected("pcr_len", "a PCR value that is not SHA-256")
    if len(attested.selections) != 1 or attested.selections[0].bank != Alg.SHA256:
        raise Rejected("pcr_select", "a quote of other banks than SHA-256")
    chosen = attested.selections[0].pcrs
    if not chosen or max(chosen) >= PCRS:
        raise Rejected("pcr_select", "a quote of no PCR, or of one that is none")
    if sha256(b"".join(values[place] for place in chosen)).digest() != attested.digest:
        raise Rejected("pcr_digest", "PCR values that were not quoted")
    return {place: values[place] for place in chosen}


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a VM as its hardware is judged. Raises Rejected as that does."""
    if verified.facts["hardware"] == snp.TECHNOLOGY:
        return snp.appraise(verified, reference)
    return tdx.appraise(verified, reference)
