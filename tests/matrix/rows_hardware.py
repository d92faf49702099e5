"""Rows on SNP, DCAP, tokens and their revocation lists. More of each kind is in tests/evidence/test_refusals.py."""

import json

import mint
from given import P384, refusal
from mint import NONCE

from propolis.crypto import cbor
from propolis.decisions.appraisal import dcap_quote, snp_report

PAST = mint.datetime.datetime(2026, 2, 1, tzinfo=mint.UTC)


def snp(report=None, *, kind="vcek", lists=(), **options):
    endorsements, roots = mint.snp(kind, lists=lists)
    return refusal("snp-report", mint.snp_report() if report is None else report, endorsements, roots, **options)


def revoked(issuer="ARK-Test", key=("ark", P384), serials=(), **options):
    return snp(lists=[mint.revocations(issuer, mint.key(*key), serials, **options)])


def sgx(quote=None, **bundle):
    quote = mint.quote(3, mint.sgx_body()) if quote is None else quote
    return refusal("sgx-quote", quote, mint.endorsements(documents=[mint.collateral(**bundle)]), mint.intel_roots())


def v3(**options):
    return mint.quote(3, mint.sgx_body(), **options)


def tdx(version=4, *, tail=b"", log=None, **body):
    data = mint.quote(version, mint.td_body(**body), tee=0x81, tail=tail)
    if log is not None:
        data = json.dumps({"quote": mint.url(data), "cc_eventlog": mint.url(log)}).encode()
    return refusal("tdx-quote", data, mint.endorsements(documents=[mint.collateral("TDX")]), mint.intel_roots())


def intel(**changes):
    return sgx(lists=mint.intel_lists(**changes))


def psa(token=None, **claims):
    token = mint.psa(**claims) if token is None else token
    return refusal("psa-token", token, mint.endorsements(), mint.roots(keys=[mint.key("iak")]))


def sign1(**options):
    return psa(mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), **options))


SNP = mint.snp_report()
HEAD = b"\xd2\x84\x43\xa1\x01\x26\xa0"  # tag 18, four parts, {1: -7}, {}
ROWS = [
    ("SNP: empty", lambda: snp(b""), "truncated"),
    ("SNP: 1 byte", lambda: snp_report.parse(b"\2"), "truncated"),
    ("SNP: one byte short", lambda: snp(SNP[:-1]), "truncated"),
    ("SNP: +1 trailing byte", lambda: snp(SNP + b"\0"), "trailing"),
    ("SNP: version 9", lambda: snp(mint.snp_report(edits=[(0, b"\x09")])), "version"),
    ("SNP: algo 0", lambda: snp(mint.snp_report(edits=[(0x34, b"\0")])), "sig_algo"),
    ("SNP: reserved bits of the policy", lambda: snp(mint.snp_report(policy=0x30000 | 1 << 26)), "mbz"),
    ("SNP: reserved bytes", lambda: snp(mint.snp_report(edits=[(0x4C, b"\1")])), "mbz"),
    ("SNP: padding in R", lambda: snp(mint.snp_report(after=[(0x2A0 + 48, b"\1")])), "mbz"),
    ("SNP: padding in S", lambda: snp(mint.snp_report(after=[(0x2E8 + 71, b"\1")])), "mbz"),
    ("SNP: R=S=0", lambda: snp(mint.snp_report(after=[(0x2A0, bytes(144))])), "signature"),
    ("SNP: debug", lambda: snp(mint.snp_report(policy=0x30000 | 1 << 19)), "debug"),
    ("SNP: migratable", lambda: snp(mint.snp_report(policy=0x30000 | 1 << 18)), "migratable"),
    ("SNP: VMPL 1", lambda: snp(mint.snp_report(vmpl=1)), "vmpl"),
    ("SNP: TCB != cert", lambda: snp(mint.snp_report(edits=[(0x180, mint.tcb_bytes("Genoa", snp=22))])), "tcb_mismatch"),
    ("SNP: chip id swapped", lambda: snp(mint.snp_report(chip=bytes(reversed(mint.CHIP)))), "chip_id"),
    ("SNP: VLEK flag with VCEK", lambda: snp(mint.snp_report(kind="vlek")), "key_kind"),
    ("SNP: current<committed", lambda: snp(mint.snp_report(edits=[(0x1E0, mint.tcb_bytes("Genoa", snp=24))])), "tcb_order"),
    ("SNP: nonce stale", lambda: snp(mint.snp_report(data=b"stale")), "nonce"),
    ("SNP: nonce 0-length", lambda: snp(nonce=b""), "nonce"),
    ("SNP: nonce 65 bytes", lambda: snp(nonce=bytes(65)), "nonce"),
    ("SNP: now before notBefore", lambda: snp(now=mint.NOW - 365 * 86400), "cert_not_yet"),
    ("SNP: now=0", lambda: snp(now=0), "cert_not_yet"),
    ("SNP: NaN time", lambda: snp(now=float("nan")), "cert_expired"),
    ("ASK on CRL", lambda: revoked(serials=[77]), "revoked"),
    ("CRL expired", lambda: revoked(end=PAST), "crl_expired"),
    ("CRL wrong issuer", lambda: revoked("Somebody", ("another", P384)), "crl_issuer"),
    ("CRL of that name by another key", lambda: revoked(key=("another", P384)), "crl_signature"),
    ("PCK on CRL", lambda: intel(pck_serials=[99]), "revoked"),
    ("PCK's authority on CRL", lambda: intel(root_serials=[55]), "revoked"),
    ("PCK: CRL expired", lambda: intel(end=PAST), "crl_expired"),
    ("PCK: CRL wrong issuer", lambda: intel(pck_issuer=("Somebody", "other")), "crl_issuer"),
    ("TDX: 1 byte", lambda: dcap_quote.parse(b"\4"), "truncated"),
    ("TDX: zero pad allowed", lambda: tdx(tail=bytes(64)), ""),
    ("TDX: padding that is not zero", lambda: tdx(tail=b"\0\1"), "trailing"),
    ("TDX: debug", lambda: tdx(attributes=1 << 28 | 1), "debug"),
    ("TDX: SEPT off", lambda: tdx(attributes=0), "sept_ve"),
    ("TDX: service TD", lambda: tdx(5, service=b"\1" * 48, size=648), "service_td"),
    ("TDX: RTMR log mismatch", lambda: tdx(log=mint.ccel((1, b"a" * 48))), "log_replay"),
    ("SGX: size field 0xffffffff", lambda: sgx(v3()[:432] + b"\xff\xff\xff\xff" + v3()[436:]), "oversize"),
    ("SGX: debug", lambda: sgx(mint.quote(3, mint.sgx_body(attributes=7))), "debug"),
    ("SGX: QE signer", lambda: sgx(v3(qe={"signer": b"x" * 32})), "qe_identity"),
    ("SGX: TCB none", lambda: sgx(levels=[mint.tcb_level("UpToDate", svn=6)]), "tcb_none"),
    ("SGX: TCB Revoked", lambda: sgx(levels=[mint.tcb_level("Revoked")]), "tcb_revoked"),
    ("COSE: Mac0", lambda: sign1(tag=17), "cose_mac0"),
    ("COSE: alg missing", lambda: sign1(headers={4: b"k"}), "cose_alg"),
    ("COSE: alg unprotected only", lambda: sign1(headers={}, unprotected={1: -7}), "cose_alg"),
    ("COSE: crit", lambda: sign1(headers={1: -7, 2: [1]}), "cose_crit"),
    ("COSE: dup keys in the protected header", lambda: psa(b"\xd2\x84\x45\xa2\x01\x26\x01\x26\xa0\x41x\x41x"), "cbor"),
    ("COSE: dup keys in the claims", lambda: psa(mint.sign1(mint.key("iak"), b"\xa2\x0a\x01\x0a\x02")), "cbor"),
    ("COSE: nested depth 1000", lambda: psa(HEAD + b"\x81" * 1000 + b"\0\x41x"), "cbor"),
    ("COSE: tags nested 1000 deep", lambda: psa(b"\xd2" * 1000 + b"\0"), "cbor"),
    ("COSE: indefinite length bomb", lambda: psa(HEAD + b"\x5f" + b"\x41x" * 1000 + b"\xff\x41x"), "cbor"),
    ("COSE: indefinite length without end", lambda: cbor.decode(b"\x9f" * 5000), "cbor"),
    ("COSE: size field 0xffffffff", lambda: psa(HEAD + b"\x5a\xff\xff\xff\xff"), "oversize"),
    ("COSE: count 2^31", lambda: psa(b"\x9a\x80\0\0\0"), "oversize"),
    ("COSE: +1 trailing byte", lambda: psa(mint.psa() + b"\0"), "trailing"),
    ("claims: nonce 31 B", lambda: psa(_10=NONCE[:31]), "claim_nonce"),
    ("claims: lifecycle debug", lambda: psa(_2395=0x4000), "lifecycle"),
    ("claims: sw empty", lambda: psa(_2399=[]), "claim_software"),
    ("claims: instance id 32 B", lambda: psa(_256=b"\1" * 32), "claim_instance"),
]  # fmt: skip
