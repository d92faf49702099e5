"""SGX quotes: what an enclave says of itself, and its appraisal (Intel SDM 3D, chapter 38; evidence.md, G1-G4)."""

from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import dcap, dcap_quote, standing
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Reference,
    Verified,
    bound,
    expires,
)
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

TECHNOLOGY = "sgx"
_INIT, _DEBUG = 1, 1 << 1
_PROVISION, _LAUNCH = 1 << 4, 1 << 5


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify an SGX quote. Raises Rejected."""
    proof = dcap.prove(evidence, endorsements, roots, now, tee=dcap_quote.SGX)
    body = dcap_quote.sgx_body(proof.quote.body)
    if not body.flags & _INIT:
        raise Rejected("mbz", "an enclave that was never initialised")
    fresh = bound(nonce, body.report_data)
    return Verified(
        technology=TECHNOLOGY,
        identity=proof.identity,
        facts={
            **proof.facts(),
            "debug": bool(body.flags & _DEBUG),
            "provisioning-key": bool(body.flags & _PROVISION),
            "launch-key": bool(body.flags & _LAUNCH),
            "measurement": body.enclave.hex(),
            "signer": body.signer.hex(),
            "product": body.product,
            "svn": body.svn,
            "attributes": body.attributes.hex(),
            "report-data": body.report_data.hex(),
        },
        fresh=fresh,
        until=expires(now, proof.until),
    )


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge an enclave. Raises Rejected(debug). A TCB that is not current is a warning, and gives no claim."""
    if verified.facts["debug"]:
        raise Rejected("debug", "the host may read this enclave")
    return standing.concluded(verified, reference, {"server": bool(verified.facts["server"])})
