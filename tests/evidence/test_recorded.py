"""Evidence that real machines and their makers' tools recorded, each with the verdict it must get.

It lies beside the repository (shared/evidence), or where $PROPOLIS_EVIDENCE says, and is not ours to ship; without it these
tests skip and say so.
"""

import os
from hashlib import sha256, sha384
from pathlib import Path

import mint
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from propolis.crypto import cbor, cose
from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest
from propolis.decisions.appraisal import bundles, pins
from propolis.decisions.appraisal.judge import judge
from propolis.terms.calendar import rfc3339

HERE = Path(__file__).resolve()
NAMED = os.environ.get("PROPOLIS_EVIDENCE")
FOLDERS = [Path(NAMED)] if NAMED else [parent / "shared" / "evidence" for parent in HERE.parents]
SHARED = next((folder for folder in FOLDERS if folder.is_dir()), None)
pytestmark = pytest.mark.skipif(SHARED is None, reason="no recorded evidence beside the repository (shared/evidence)")

AMD = ("snp/ask_ark_milan.pem", "snp/ask_ark_milan_vlek.pem", "snp/ask_ark_genoa.pem", "snp/ask_ark_genoa_vlek.pem")
INTEL = ("sgx/IntelSGXRootCA.der",)
MID_2025, MID_2026 = "2025-06-20T00:00:00Z", "2026-02-20T00:00:00Z"
CHALLENGE = b"challenge"

# type, evidence, roots, endorsements, time, nonce, wanted: a reason, or the status and facts that must be there
CASES = [
    ("snp-report", "snp/gsg_attestation.bin", AMD, ["snp/gsg_vcek.der"], MID_2025, None, "debug"),
    ("snp-report", "snp/trustee_test-report.bin", AMD, ["snp/trustee_test-vcek.der"], MID_2025, None, {"product": "Milan"}),
    ("snp-report", "snp/trustee_test-report.bin", AMD, ["snp/trustee_test-vcek-invalid-new.der"], MID_2025, None, "chain"),
    ("snp-report", "snp/trustee_test-report.bin", AMD, ["snp/trustee_test-vcek-invalid-legacy.der"], MID_2025, None, "chain"),
    ("snp-report", "snp/trustee_test-report.bin", AMD, ["snp/trustee_test-vlek.der"], MID_2025, None, "key_kind"),
    ("snp-report", "snp/trustee_test-report.bin", AMD, ["snp/gsg_vcek.der"], MID_2025, None, "signature"),
    ("snp-report", "snp/trustee_test-report.bin", AMD, [], MID_2025, None, "endorsement_missing"),
    ("snp-report", "snp/trustee_test-report.bin", INTEL, ["snp/trustee_test-vcek.der"], MID_2025, None, "root_untrusted"),
    ("snp-report", "snp/trustee_test-vlek-report.bin", AMD, ["snp/trustee_test-vlek.der"], MID_2025, None, "vmpl"),
    ("snp-report", "snp/trustee_e2e-evidence.json", AMD, [], MID_2025, None, {"product": "Genoa", "vmpl": 0}),
    ("tdx-quote", "snp/trustee_test-report.bin", AMD, [], MID_2025, None, "version"),
    ("tdx-quote", "tdx/phala_tdx_quote", INTEL, ["tdx/phala_tdx_quote_collateral.json"], "2025-06-19T08:13:22Z", None, {"tcb-status": "UpToDate"}),
    ("tdx-quote", "tdx/phala_tdx_quote", INTEL, ["tdx/phala_tdx_quote_collateral.json"], "2025-07-25T00:00:00Z", None, "crl_expired"),
    ("tdx-quote", "tdx/phala_tdx_quote", INTEL, [], MID_2025, None, {"tcb-status": "unknown"}),
    ("tdx-quote", "tdx/phala_tdx_quote_outdated", INTEL, ["tdx/phala_tdx_quote_outdated_collateral.json"], MID_2026, None, "tcb_none"),
    ("tdx-quote", "tdx/phala_tdx-quote.hex", INTEL, ["tdx/phala_tdx_quote_collateral.json"], MID_2025, None, "tcb_none"),
    ("tdx-quote", "tdx/phala_quote-from-tappd.hex", INTEL, ["tdx/phala_tdx_quote_collateral.json"], MID_2025, None, "tcb_none"),
    ("tdx-quote", "tdx/gtg_tdx_prod_quote_SPR_E4.dat", INTEL, [], MID_2025, None, "trailing"),
    ("tdx-quote", "tdx/gtg_quote_v5_sample.dat", INTEL, ["tdx/phala_tdx_quote_outdated_collateral.json"], MID_2026, None, {"tcb-status": "UpToDate", "quote-version": 5}),
    ("tdx-quote", "tdx/gtg_cos-113-tdx-quote.dat", INTEL, ["tdx/phala_tdx_quote_collateral.json"], MID_2025, None, "tcb_fmspc"),
    ("tdx-quote", "tdx/gtg_cos-113-tdx-quote.dat", INTEL, [], "2026-06-12T00:00:00Z", None, {"tcb-status": "unknown"}),
    ("tdx-quote", "tdx/gtg_cos-113-tdx-quote.dat", INTEL, ["tdx/gtg_ccel_data.dat"], "2026-06-12T00:00:00Z", None, {"log-covers": ("rtmr0", "rtmr1", "rtmr2", "rtmr3")}),
    ("tdx-quote", "tdx/gtg_cos-113-tdx-quote.dat", INTEL, ["eventlog/gtt_ubuntu-2404-amd-sevsnp.bin"], "2026-06-12T00:00:00Z", None, "log_replay"),
    ("sgx-quote", "sgx/phala_sgx_quote", INTEL, ["sgx/phala_sgx_quote_collateral.json"], MID_2025, None, {"tcb-status": "ConfigurationAndSWHardeningNeeded", "advisories": ("INTEL-SA-00289", "INTEL-SA-00615")}),
    ("tdx-quote", "sgx/phala_sgx_quote", INTEL, ["sgx/phala_sgx_quote_collateral.json"], MID_2025, None, "tee"),
    ("sgx-quote", "sgx/fortanix_pcs_quote.bin", INTEL, [], "2023-01-01T00:00:00Z", None, "debug"),
    ("sgx-quote", "sgx/fortanix_quote_pck_cert_chain.bin", INTEL, [], "2023-01-01T00:00:00Z", None, "debug"),
    ("sgx-quote", "sgx/fortanix_quote_pck_cert_chain_corrupted.bin", INTEL, [], "2023-01-01T00:00:00Z", None, "signature"),
    ("sgx-quote", "sgx/fortanix_quote_raw_tcb.bin", INTEL, [], "2023-01-01T00:00:00Z", None, "cert_type"),
    ("sgx-quote", "sgx/intelqvl_quote.dat", INTEL, [], "2023-01-01T00:00:00Z", None, "cert_type"),
    ("azcvm", "azure-cvm/snp_evidence-v0.json", AMD, [], MID_2025, CHALLENGE, {"secure-boot": True, "product": "Milan"}),
    ("azcvm", "azure-cvm/snp_evidence-v1.json", AMD, [], MID_2025, CHALLENGE, {"secure-boot": True}),
    ("azcvm", "azure-cvm/snp_evidence-v1.json", AMD, [], MID_2025, b"challenges", "nonce"),
    ("azcvm", "azure-cvm/snp_evidence-v2.json", AMD, [], MID_2025, None, {"product": "Milan"}),
    ("azcvm", "azure-cvm/snp_evidence-genoa.json", AMD, [], MID_2025, None, {"product": "Genoa"}),
    ("azcvm", "azure-cvm/snp_tpm-quote-v1.json", AMD, [], MID_2025, None, "envelope_field"),
    ("nitro-doc", "nitro/request_proper.bin", ["nitro/aws.crt"], [], "2021-09-09T11:00:00Z", None, {"debug": True}),
    ("nitro-doc", "nitro/request_proper.bin", ["nitro/aws.crt"], [], MID_2026, None, "cert_expired"),
    ("nitro-doc", "nitro/request_proper.bin", ["nitro/unknown_ca.crt"], [], "2021-09-09T11:00:00Z", None, "root_untrusted"),
    ("nitro-doc", "nitro/request_proper.bin", ["nitro/tampered_root_cert.crt"], [], "2021-09-09T11:00:00Z", None, "root_untrusted"),
    ("nitro-doc", "nitro/tampered_signature.bin", ["nitro/aws.crt"], [], "2021-09-09T11:00:00Z", None, "signature"),
    ("nitro-doc", "nitro/tampered_certificate.bin", ["nitro/aws.crt"], [], "2021-09-09T11:00:00Z", None, "truncated"),
    ("psa-token", "psa/tfm_iat.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, {"secured": True}),
    ("psa-token/1", "psa/vpsa_psa-iot-1_sign1.bin", ["psa/vpsa_public.pem"], [], MID_2025, bytes(64), {"key-bound": True}),
    ("psa-token/2", "psa/vpsa_psa-2_0_0_sign1.bin", ["psa/vpsa_public.pem"], [], MID_2025, bytes(64), {"key-bound": True}),
    ("psa-token", "psa/vpsa_psa-2_0_0_sign1.bin", ["psa/vpsa_public.pem"], [], MID_2025, bytes(32), "nonce"),
    ("psa-token", "psa/vpsa_psa-2_0_0_sign1.bin", ["psa/tfm_public.pem"], [], MID_2025, None, "signature"),
    ("psa-token", "psa/vpsa_psa-2_0_0_sign1.bin", INTEL, [], MID_2025, None, "root_untrusted"),
    ("psa-token", "psa/vpsa_psa-2_0_0_mac0.bin", ["psa/vpsa_public.pem"], [], MID_2025, None, "cose_mac0"),
    ("psa-token", "psa/vpsa_psa-iot-1_mac0.bin", ["psa/vpsa_public.pem"], [], MID_2025, None, "cose_mac0"),
    ("psa-token", "psa/tfm_iat-hmac.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "cose_mac0"),
    ("psa-token", "psa/tfm_malformed.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "trailing"),
    *(
        ("psa-token", f"psa/tfm_{name}.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "cose_alg")
        for name in ("invalid-profile-id", "missing-claim", "missing-sw-comps", "no-sw-measurements", "submod-missing-claim", "psa-2_0_0_sign1-token")
    ),
    *(
        ("cca-token", f"cca/tfm_{name}.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "cca_collection")
        for name in ("cca_platform_token", "cca_example_platform_token", "cca_example_platform_token_legacy")
    ),
    ("parsec-tpm", "parsec-tpm/evidence_invalid.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "cbor"),
    ("parsec-tpm", "parsec-tpm/evidence_bad_kat.cbor", ["psa/tfm_public.pem"], [], MID_2025, None, "truncated"),
    ("parsec-tpm", "parsec-tpm/evidence_invalid_kat.json", ["psa/tfm_public.pem"], [], MID_2025, None, "mbz"),
    ("parsec-tpm", "parsec-tpm/evidence_invalid_pat.json", ["psa/tfm_public.pem"], [], MID_2025, None, "claim_missing"),
    ("parsec-tpm", "parsec-tpm/evidence_missing_kat.json", ["psa/tfm_public.pem"], [], MID_2025, None, "claim_missing"),
    ("parsec-tpm", "parsec-tpm/evidence_missing_pat.json", ["psa/tfm_public.pem"], [], MID_2025, None, "claim_missing"),
    ("parsec-tpm", "parsec-tpm/evidence.cbor", INTEL, [], MID_2025, None, "root_untrusted"),
]  # fmt: skip


def read(*names):
    return bundles.read_files((name, (SHARED / name).read_bytes()) for name in names)


@pytest.mark.parametrize(("kind", "name", "roots", "endorsed", "at", "nonce", "wanted"), CASES)
def test_recorded_evidence_gets_the_verdict_it_deserves(kind, name, roots, endorsed, at, nonce, wanted):
    trusted, brought = read(*roots), read(*endorsed)
    found = judge(
        kind,
        (SHARED / name).read_bytes(),
        endorsements=trusted.beside_roots().joined(brought.endorsements()),
        nonce=nonce,
        roots=trusted.roots(),
        now=rfc3339(at),
    )
    if isinstance(wanted, str):
        assert found.reason == wanted, found.text
        return
    assert found.ok, found.text
    assert {name: found.verified.facts[name] for name in wanted} == wanted
    assert found.verified.fresh == (nonce is not None)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("", "ok"), ("debug", "debug"), ("migratable", "migratable"), ("vmpl", "vmpl2"), ("tcb_mismatch", "tcb_not_in_cert"),
        ("chip_id", "chip_swapped"), ("signature", "measurement_bit"), ("signature", "report_data_bit"), ("signature", "sig_bit"),
        ("mbz", "sig_padding"), ("mbz", "tail_nonzero"), ("version", "version9"), ("sig_algo", "sig_algo0"), ("mbz", "policy_rsvd"),
        ("key_kind", "vlek_flag_vcek_cert"), ("tcb_order", "committed_gt_current"), ("signature", "other_key"), ("signature", "sig_zero"),
    ],
)  # fmt: skip
def test_snp_reports_made_for_this_project(wanted, name):
    folder = "snp-synthetic-own"
    trusted = read(f"{folder}/chain.pem", f"{folder}/vcek.der")
    report = (SHARED / folder / f"{name}.bin").read_bytes()
    options = {
        "endorsements": trusted.beside_roots(),
        "nonce": None,
        "roots": trusted.roots(),
        "now": 1780272000,
    }
    assert judge("snp-report", report, **options).reason == wanted
    listed = options["endorsements"].joined(read(f"{folder}/crl_ask_revoked.der").endorsements())
    if name == "ok":
        assert judge("snp-report", report, **{**options, "endorsements": listed}).reason == "revoked"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("UpToDate", "tdx_ok"), ("UpToDate", "sgx_ok"), ("debug", "tdx_debug"), ("debug", "sgx_debug"), ("revoked", "tdx_pck_revoked"),
        ("revoked", "sgx_pck_revoked"), ("tcb_revoked", "sgx_tcb_revoked"), ("OutOfDate", "sgx_out_of_date"),
        ("SWHardeningNeeded", "sgx_sw_hardening"), ("tcb_none", "sgx_no_level"), ("OutOfDate", "sgx_qe_old"),
        ("qe_identity", "sgx_qe_wrong_signer"), ("crl_expired", "sgx_crl_expired"), ("tcb_expired", "sgx_tcbinfo_expired"),
        ("sept_ve", "tdx_no_sept_ve_disable"),
    ],
)  # fmt: skip
def test_quotes_made_for_this_project(wanted, name):
    folder = "dcap-synthetic-own"
    roots, brought = read(f"{folder}/{name}.root.der"), read(f"{folder}/{name}.collateral.json")
    found = judge(
        f"{name[:3]}-quote",
        (SHARED / folder / f"{name}.quote").read_bytes(),
        endorsements=brought.endorsements(),
        nonce=None,
        roots=roots.roots(),
        now=1780272000,
    )
    assert found.reason == wanted or found.verified.facts["tcb-status"] == wanted, found.text


def test_every_certificate_of_a_maker_is_read_and_has_a_key():
    folder = SHARED / "tpm-roots"
    for path in sorted(folder.iterdir()):
        found = bundles.read(path.read_bytes())
        assert found.certificates, path.name
        assert all(each.key for each in found.certificates), path.name


def test_the_makers_roots_of_this_release_are_those_of_the_recordings():
    names = [*(f"snp/{path.name}" for path in (SHARED / "snp").glob("ask_ark_*.pem")), *INTEL, "nitro/aws.crt"]
    assert read(*names).roots().pins == frozenset(pins.PINS)
    assert isinstance(pins.makers(), Roots)


CURVES = {  # name -> p, b, order, generator
    "secp256r1": (
        0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    "secp384r1": (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
}


def signers(curve, digest, r, s):
    """Return the two keys that an ECDSA signature may be of (SEC 1, 4.1.6): samples whose key nobody published."""
    p, b, order = CURVES[curve.name]

    def add(one, two):
        if one is None or two is None:
            return one or two
        (x1, y1), (x2, y2) = one, two
        if x1 == x2 and (y1 + y2) % p == 0:
            return None
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, p) if one == two else (y2 - y1) * pow(x2 - x1, -1, p)
        x = (slope * slope - x1 - x2) % p
        return x, (slope * (x1 - x) - y1) % p

    def times(factor, point):
        total = None
        while factor:
            total = add(total, point) if factor & 1 else total
            point, factor = add(point, point), factor >> 1
        return total

    y = pow(r**3 - 3 * r + b, (p + 1) // 4, p)
    g = ec.derive_private_key(1, curve).public_key().public_numbers()
    e, inverse = int.from_bytes(digest, "big") % order, pow(r, -1, order)
    for sign in (y, p - y):
        x, y = add(times(s * inverse % order, (r, sign)), times(-e * inverse % order, (g.x, g.y)))
        yield ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def platform_keys(name):
    """The keys that the platform token of a CCA collection may be signed by."""
    tokens = cbor.decode((SHARED / name).read_bytes()).value
    token = tokens[44234][1] if isinstance(tokens[44234], list) else tokens[44234]
    signed = cose.parse(cbor.decode(token))
    data = mint.cbor(["Signature1", signed.protected, b"", signed.payload])
    r, s = (int.from_bytes(half, "big") for half in (signed.signature[:48], signed.signature[48:]))
    return {spki(key) for key in signers(ec.SECP384R1(), sha384(data).digest(), r, s)}


def test_cca_tokens_of_two_tools_are_of_one_platform_key_and_verify():
    names = ["rmm_cca_token", "tfm_cca_token", "tfm_cca_example_token", "tfm_cca_example_token_legacy"]
    options = {"endorsements": mint.endorsements(), "nonce": None, "now": rfc3339(MID_2025)}
    both = [platform_keys(f"cca/{name}.cbor") for name in names]
    (pinned,) = both[0] & both[2] & both[3]  # one of two keys is each token's own accident; the other is the platform's
    for name in names:
        data = (SHARED / f"cca/{name}.cbor").read_bytes()
        found = judge("cca-token/1", data, roots=Roots(keys=(pinned,)), **options)
        assert found.ok, (name, found.text)
        assert found.verified.facts["secured"]
        assert (
            judge("cca-token/1", data, roots=Roots(keys=(mint.spki(mint.key("x", ec.SECP384R1)),)), **options).reason
            == "signature"
        )
        assert judge("cca-token/1", data, roots=Roots(), **options).reason == "root_untrusted"


@pytest.mark.parametrize("name", ["evidence.cbor", "evidence.json"])
def test_a_parsec_key_attestation_of_two_signatures_by_one_key(name):
    data = (SHARED / "parsec-tpm" / name).read_bytes()
    tokens = cbor.decode((SHARED / "parsec-tpm/evidence.cbor").read_bytes())
    both = []
    for token, field in (("kat", "certInfo"), ("pat", "attestInfo")):
        signature = attest.parse_signature(tokens[token]["sig"])
        digest = sha256(tokens[token][field]).digest()
        both.append({spki(key) for key in signers(ec.SECP256R1(), digest, signature.r, signature.s)})
    (pinned,) = both[0] & both[1]
    options = {"endorsements": mint.endorsements(), "roots": Roots(keys=(pinned,)), "now": rfc3339(MID_2025)}
    found = judge("parsec-tpm", data, nonce=None, **options)
    assert found.ok, found.text
    nonce = bytes.fromhex(found.verified.facts["nonce"])
    assert judge("parsec-tpm", data, nonce=nonce, **options).verified.fresh
    assert judge("parsec-tpm", data, nonce=nonce[:-1], **options).reason == "nonce"
