"""Verification of Intel DCAP quotes, common to SGX and TDX: from the pinned root to the quoted body (evidence.md, Q1-Q12).

Without collateral (TCB info, QE identity, revocation lists) the chain of signatures still holds, and the TCB's status is
"unknown": a fact that no appraisal affirms. With collateral, all of it must be there and hold.
"""

from hashlib import sha256

import msgspec

from propolis.crypto import crl, keys, paths, x509
from propolis.crypto.paths import Roots
from propolis.crypto.x509 import Certificate
from propolis.decisions.appraisal import collateral, dcap_quote, levels, pck, vetting
from propolis.decisions.appraisal.collateral import Collateral
from propolis.decisions.appraisal.dcap_quote import SGX, Quote, SgxBody
from propolis.decisions.appraisal.levels import Standing
from propolis.decisions.appraisal.pck import Platform
from propolis.decisions.appraisal.result import Endorsements, Facts
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

_KNOWN_QE = {  # (TEE, MRSIGNER) -> ISVPRODID of Intel's quoting enclaves, for use without a signed identity
    (0x00, "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff"): 1,
    (0x81, "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"): 2,
}
_DEBUG = 1 << 1


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A quote whose signatures hold, and what is known of its platform."""

    quote: Quote
    platform: Platform
    standing: Standing
    until: int
    revocation_checked: bool

    def facts(self) -> Facts:
        """Return what both technologies say."""
        return {
            "quote-version": self.quote.version,
            "tcb-status": self.standing.status,
            "advisories": self.standing.advisories,
            "qe-status": self.standing.qe,
            "fmspc": self.platform.fmspc.hex(),
            "ppid": self.platform.ppid.hex(),
            "server": self.platform.kind > 0,
            "revocation-checked": self.revocation_checked,
            "quote-digest": sha256(self.quote.canon).hexdigest(),  # of what is signed: padding and PEM text may vary
        }

    @property
    def identity(self) -> str:
        """The platform, the same from quote to quote."""
        return f"platform:{self.platform.ppid.hex()}"


def prove(evidence: bytes, endorsements: Endorsements, roots: Roots, now: Seconds, *, tee: int) -> Proof:
    """Verify a quote of this TEE up to its body. Raises Rejected."""
    quote = dcap_quote.parse(evidence)
    if quote.tee != tee:
        raise Rejected("tee", "a quote of the other technology of Intel's")
    found = collateral.gather(endorsements)
    path = _path(quote, found, roots, now)  # Q7
    leaf = path[0]
    whole = bool(found.tcb_infos or found.qe_identities)
    looked = crl.revoked(path, found.lists, now, roots.lists)  # Q8
    if whole and not {above.subject for above in path[1:]} <= looked:
        raise Rejected(
            "crl_issuer" if found.lists else "crl_missing",
            "a revocation list of an issuer of the platform's key is missing",
        )
    _signatures(quote, leaf)
    platform = pck.read(leaf)
    until = crl.until(path, (*found.lists, *roots.lists), now)
    qe = dcap_quote.sgx_body(quote.qe_report)
    if not whole:
        _known_qe(qe, tee)
        standing = Standing(status="unknown", qe="unknown", advisories=())
    else:
        judged = vetting.verified(
            found,
            tee="SGX" if tee == SGX else "TDX",
            fmspc=platform.fmspc,
            pce=platform.pce,
            roots=roots,
            now=now,
        )
        standing = levels.standing(judged, platform, qe, quote)
        until = min(until, judged.until)
    return Proof(quote=quote, platform=platform, standing=standing, until=until, revocation_checked=bool(looked))


def _path(quote: Quote, found: Collateral, roots: Roots, now: Seconds) -> tuple[Certificate, ...]:
    """Build the path of the platform's certificate, in whatever order the quote carries it."""
    carried = x509.read_all(quote.chain)
    leaves = [each for each in carried if each.authority() is None]
    if len(leaves) != 1:
        raise Rejected("chain", f"{len(leaves)} certificates of platforms in one quote")
    return paths.build(leaves[0], (*carried, *found.certificates), roots, now)


def _signatures(quote: Quote, leaf: Certificate) -> None:
    """Check the three links: platform -> quoting enclave -> attestation key -> body (Q9-Q11)."""
    _raw(leaf.key, quote.qe_report, quote.qe_signature)
    said = dcap_quote.sgx_body(quote.qe_report).report_data
    if said != sha256(quote.key + quote.qe_auth).digest().ljust(64, b"\0"):
        raise Rejected("signature", "the attestation key is not the quoting enclave's")
    _raw(_point(quote.key), quote.signed, quote.signature)


def _point(key: bytes) -> keys.PublicKey:
    return keys.point(keys.P256, b"\x04" + key)


def _raw(key: keys.PublicKey, data: bytes, signature: bytes) -> None:
    keys.check_raw(key, 256, data, int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _known_qe(qe: SgxBody, tee: int) -> None:
    """Without a signed identity: only the quoting enclaves that Intel is known to sign, and no debug one (Q12)."""
    if _KNOWN_QE.get((tee, qe.signer.hex())) != qe.product or qe.flags & _DEBUG:
        raise Rejected("qe_identity", "a quoting enclave that is not Intel's")
