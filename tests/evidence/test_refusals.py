"""What is refused, and by which reason: evidence minted with one thing wrong each (docs/specs/evidence.md)."""

import datetime
import json

import mint
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mint import NONCE, NOW

from propolis.decisions.appraisal import bundles, collateral, registry
from propolis.decisions.appraisal.judge import judge
from propolis.decisions.appraisal.result import Reference
from propolis.terms.errors import Rejected
from propolis.terms.trust import Tier

P384 = ec.SECP384R1
PAST = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)


def tried(kind, data, endorsements=None, roots=None, nonce=NONCE, now=NOW, **more):
    endorsements = mint.endorsements() if endorsements is None else endorsements
    return judge(kind, data, endorsements=endorsements, roots=roots, nonce=nonce, now=now, **more)


def snp(report, *, kind="vcek", product="Genoa", **options):
    endorsements, roots = mint.snp(kind, product)
    return tried(
        "snp-report", report, options.pop("endorsements", endorsements), options.pop("roots", roots), **options
    )


def sgx(quote, bundle=None, **options):
    documents = [mint.collateral() if bundle is None else bundle]
    return tried("sgx-quote", quote, mint.endorsements(documents=documents), mint.intel_roots(), **options)


def tdx(quote, bundle=None, **options):
    documents = [mint.collateral("TDX") if bundle is None else bundle]
    return tried("tdx-quote", quote, mint.endorsements(documents=documents), mint.intel_roots(), **options)


def psa(token, **options):
    return tried("psa-token", token, **{"roots": mint.roots(keys=[mint.key("iak")]), **options})


def cca(token, **options):
    return tried("cca-token", token, **{"roots": mint.roots(keys=[mint.key("cpak", P384)]), **options})


def parsec(evidence, **options):
    return tried("parsec-tpm", evidence, **{"roots": mint.roots(keys=[mint.key("ak")]), **options})


def nitro(document, **options):
    return tried("nitro-doc", document, roots=mint.roots(mint.aws()[0]), **options)


def azure(bundle, **options):
    return tried("azcvm", bundle, mint.endorsements(mint.snp_makers()[1]), mint.snp()[1], **options)


@pytest.mark.parametrize("version", [2, 3, 4, 5])
@pytest.mark.parametrize("product", ["Milan", "Genoa"])
def test_every_version_of_a_report_is_verified(version, product):
    found = snp(mint.snp_report(version=version, product=product), product=product)
    assert found.ok, found.text
    assert found.verified.facts["product"] == product
    assert ("not-milan" in found.appraised.attested.claims) == (product == "Genoa")


def test_a_turin_report_has_its_own_layout_and_a_short_chip_id():
    chip = mint.CHIP[:8]
    endorsed = mint.endorsements(mint.snp_leaf("vcek", "Turin", chip), mint.snp_makers()[1])
    found = snp(mint.snp_report(product="Turin", chip=chip), endorsements=endorsed)
    assert found.ok, found.text
    assert found.verified.facts["tcb-fmc"] == 1
    assert snp(mint.snp_report(product="Turin", chip=mint.CHIP), endorsements=endorsed).reason == "chip_id"


def test_a_chip_that_hides_its_id_binds_nothing():
    endorsed = mint.endorsements(mint.snp_leaf(chip=bytes(64)), mint.snp_makers()[1])
    assert snp(mint.snp_report(chip=b""), endorsements=endorsed).reason == "chip_id"


def test_a_clouds_key_signs_as_well_as_a_chips():
    assert snp(mint.snp_report(kind="vlek"), kind="vlek").ok
    assert snp(mint.snp_report(kind="vlek"), kind="vcek").reason == "key_kind"
    assert snp(mint.snp_report(kind="vcek"), kind="vlek").reason == "key_kind"


def test_a_chip_id_may_stand_bare_in_its_certificate():
    endorsed = mint.endorsements(mint.snp_leaf(wrapped=False), mint.snp_makers()[1])
    assert snp(mint.snp_report(), endorsements=endorsed).ok


def test_known_firmware_and_image_on_checked_hardware_affirm():
    lists = [mint.revocations("ARK-Test", mint.key("ark", P384))]
    endorsed = mint.snp(lists=lists)[0]
    least = {("sev-snp-genoa", name): mint.TCB[name] for name in ("bootloader", "tee", "snp", "microcode")}
    reference = Reference(images=frozenset({(b"m" * 48).hex()}), least=least)
    found = snp(mint.snp_report(), endorsements=endorsed, reference=reference)
    assert found.appraised.status is Tier.AFFIRMING
    assert {"tcb-current", "known-image", "not-milan", "alias-check-complete"} <= set(found.appraised.attested.claims)
    unasked = snp(mint.snp_report(), endorsements=endorsed, reference=reference, nonce=None)
    assert unasked.appraised.status is Tier.NONE, "nothing says how old it is"
    higher = Reference(images=reference.images, least={**least, ("sev-snp-genoa", "snp"): 24})
    assert (
        "tcb-current" not in snp(mint.snp_report(), endorsements=endorsed, reference=higher).appraised.attested.claims
    )


TCB_RAISED = mint.tcb_bytes("Genoa", snp=24)
SNP = [
    ("truncated", lambda: mint.snp_report()[:-1]),
    ("truncated", lambda: mint.snp_report()[:1]),
    ("truncated", lambda: b""),
    ("trailing", lambda: mint.snp_report() + b"\0"),
    ("version", lambda: mint.snp_report(edits=[(0, b"\x09")])),
    ("version", lambda: mint.snp_report(edits=[(0, b"\x01")])),
    ("version", lambda: mint.snp_report(edits=[(0x188, b"\x17")])),
    ("sig_algo", lambda: mint.snp_report(edits=[(0x34, b"\0")])),
    ("sig_algo", lambda: mint.snp_report(edits=[(0x34, b"\2")])),
    ("mbz", lambda: mint.snp_report(policy=0x10000)),
    ("mbz", lambda: mint.snp_report(policy=0x30000 | 1 << 26)),
    ("mbz", lambda: mint.snp_report(edits=[(0x4C, b"\1")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x18B, b"\1")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x1EB, b"\1")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x1F8, b"\1")])),
    ("mbz", lambda: mint.snp_report(version=5, edits=[(0x208, b"\1")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x43, b"\1")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x48, b"\x20")])),
    ("mbz", lambda: mint.snp_report(edits=[(0x3A, b"\1")])),
    ("mbz", lambda: mint.snp_report(after=[(0x2A0 + 48, b"\1")])),
    ("mbz", lambda: mint.snp_report(after=[(0x2E8 + 71, b"\1")])),
    ("mbz", lambda: mint.snp_report(after=[(1183, b"\1")])),
    ("key_kind", lambda: mint.snp_report(edits=[(0x48, b"\x02")])),
    ("key_kind", lambda: mint.snp_report(edits=[(0x48, b"\x1c")])),
    ("signature", lambda: mint.snp_report(after=[(0x2A0, bytes(144))])),
    ("signature", lambda: mint.snp_report(signer="another")),
    ("debug", lambda: mint.snp_report(policy=0x30000 | 1 << 19)),
    ("migratable", lambda: mint.snp_report(policy=0x30000 | 1 << 18)),
    ("vmpl", lambda: mint.snp_report(vmpl=1)),
    ("chip_id", lambda: mint.snp_report(chip=b"another")),
    ("chip_id", lambda: mint.snp_report(chip=b"")),
    ("chip_id", lambda: mint.snp_report(product="Milan")),
    ("tcb_mismatch", lambda: mint.snp_report(edits=[(0x180, mint.tcb_bytes("Genoa", snp=22))])),
    ("tcb_order", lambda: mint.snp_report(edits=[(0x1E0, TCB_RAISED)])),
    ("tcb_order", lambda: mint.snp_report(edits=[(0x38, mint.tcb_bytes("Genoa", snp=22)), (0x1E0, bytes(8))])),
    ("nonce", lambda: mint.snp_report(data=b"stale")),
    ("nonce", lambda: mint.snp_report(data=NONCE + b"\1")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "report"), SNP)
def test_an_snp_report_with_one_thing_wrong(reason, report):
    assert snp(report()).reason == reason


def test_a_report_is_nothing_without_its_chain():
    ask = mint.snp_makers()[1]
    other = mint.roots(mint.certificate("ARK-Test", mint.key("other ark", P384)))
    gone = mint.endorsements(mint.snp_leaf(end=PAST), ask)
    cases = {
        "endorsement_missing": {"endorsements": mint.endorsements(ask)},
        "root_untrusted": {"endorsements": mint.endorsements(mint.snp_leaf())},
        "chain": {"roots": other, "endorsements": mint.endorsements(mint.snp_leaf(), ask)},
        "cert_expired": {"endorsements": gone},
        "cert_not_yet": {"now": 0},
    }
    for reason, options in cases.items():
        assert snp(mint.snp_report(), **options).reason == reason, reason
    assert snp(mint.snp_report(), now=float("nan")).reason == "cert_expired"
    assert snp(mint.snp_report(), now=float("inf")).reason == "cert_expired"


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("revoked", lambda: mint.revocations("ARK-Test", mint.key("ark", P384), [77])),
        ("crl_expired", lambda: mint.revocations("ARK-Test", mint.key("ark", P384), end=PAST)),
        ("crl_signature", lambda: mint.revocations("ARK-Test", mint.key("another", P384))),
        ("crl_issuer", lambda: mint.revocations("Somebody", mint.key("another", P384))),
        ("", lambda: mint.revocations("ARK-Test", mint.key("ark", P384), [78])),
    ],
)
def test_a_revocation_list_counts_only_from_its_issuer_and_in_time(reason, found):
    assert snp(mint.snp_report(), endorsements=mint.snp(lists=[found()])[0]).reason == reason


def test_a_list_that_lies_with_the_roots_of_others_refuses_nobody():
    roots = mint.roots(mint.snp_makers()[0], lists=[mint.revocations("Somebody", mint.key("another", P384))])
    found = snp(mint.snp_report(), roots=roots)
    assert found.ok
    assert not found.verified.facts["revocation-checked"]
    roots = mint.roots(mint.snp_makers()[0], lists=[mint.revocations("ARK-Test", mint.key("ark", P384), [77])])
    assert snp(mint.snp_report(), roots=roots).reason == "revoked"


@pytest.mark.parametrize("nonce", [b"", bytes(65), NONCE[:31], NONCE.hex().encode(), bytes(32)])
def test_a_nonce_is_answered_exactly(nonce):
    for found in (
        snp(mint.snp_report(), nonce=nonce),
        sgx(mint.quote(3, mint.sgx_body()), nonce=nonce),
        psa(mint.psa(), nonce=nonce),
        cca(mint.cca(), nonce=nonce),
        nitro(mint.nitro(), nonce=nonce),
        azure(mint.azure(), nonce=nonce),
        parsec(mint.parsec(), nonce=nonce),
    ):
        assert found.reason == "nonce"


# -- Intel


@pytest.mark.parametrize("version", [3, 4, 5])
def test_every_version_of_an_sgx_quote_is_verified(version):
    found = sgx(mint.quote(version, mint.sgx_body()))
    assert found.ok, found.text
    assert set(found.appraised.attested.claims) == {"debug-off", "server", "tcb-current"}


@pytest.mark.parametrize(("version", "size"), [(4, 584), (5, 584), (5, 648)])
def test_every_version_of_a_td_quote_is_verified(version, size):
    found = tdx(mint.quote(version, mint.td_body(size=size), tee=0x81))
    assert found.ok, found.text
    assert found.verified.facts["tcb-status"] == "UpToDate"


def v3(**options):
    return mint.quote(3, mint.sgx_body(), **options)


QE_DATA = mint.sha256(mint.point(mint.key("attestation"))[1:] + bytes(range(32))).digest()
SGX = [
    ("version", lambda: mint.quote(2, mint.sgx_body())),
    ("version", lambda: mint.quote(6, mint.sgx_body())),
    ("sig_algo", lambda: v3(key_type=3)),
    ("tee", lambda: mint.quote(3, mint.sgx_body(), tee=0x81)),
    ("tee", lambda: mint.quote(4, mint.td_body(), tee=0x81)),
    ("tee", lambda: mint.quote(4, mint.td_body(), tee=0x82)),
    ("qe_vendor", lambda: v3(vendor=bytes(16))),
    ("cert_type", lambda: v3(cert_type=1)),
    ("cert_type", lambda: v3(cert_type=3)),
    ("cert_type", lambda: mint.quote(4, mint.sgx_body(), nested=5)),
    ("trailing", lambda: v3(tail=b"\0\1")),
    ("truncated", lambda: v3()[:-1]),
    ("truncated", lambda: v3()[:40]),
    ("oversize", lambda: v3() + bytes(64 * 1024)),
    ("oversize", lambda: v3()[:432] + b"\xff\xff\xff\xff" + v3()[436:]),
    ("signature", lambda: v3(chain=mint.pem(*mint.intel()).encode())),
    ("chain", lambda: v3(chain=mint.pem(*mint.intel()).encode(), qe_key="tcb")),
    ("chain", lambda: v3(chain=b"")),
    ("pem", lambda: v3(chain=b"-----BEGIN CERTIFICATE-----\n@@@\n-----END CERTIFICATE-----")),
    ("signature", lambda: v3(qe_key="another")),
    ("signature", lambda: v3(qe={"data": bytes(32)})),
    ("signature", lambda: v3(qe={"data": QE_DATA + b"\1"})),
    ("signature", lambda: v3()[:60] + b"\xff" + v3()[61:]),
    ("debug", lambda: mint.quote(3, mint.sgx_body(attributes=7))),
    ("mbz", lambda: mint.quote(3, mint.sgx_body(attributes=4))),
    ("qe_identity", lambda: v3(qe={"signer": b"x" * 32})),
    ("qe_identity", lambda: v3(qe={"product": 7})),
    ("qe_identity", lambda: v3(qe={"misc": 1})),
    ("qe_identity", lambda: v3(qe={"attributes": 0x13})),
    ("tcb_none", lambda: v3(qe={"svn": 0})),
    ("nonce", lambda: mint.quote(3, mint.sgx_body(data=b"stale"))),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "quote"), SGX)
def test_an_sgx_quote_with_one_thing_wrong(reason, quote):
    assert sgx(quote()).reason == reason


def test_zero_padding_after_a_quote_is_taken_and_changes_nothing():
    plain, padded = sgx(v3()), sgx(v3(tail=bytes(70)))
    assert padded.ok
    assert sgx(v3(chain=mint.pem(mint.pck(), *mint.intel()[:2]).encode() + b"\0")).ok
    assert sgx(v3(chain=mint.pem(*mint.intel()[1::-1], mint.pck()).encode())).ok, "in whatever order"
    assert len(plain.verified.facts["quote-digest"]) == 64


def test_a_quoting_enclave_is_known_without_its_identity_too():
    roots = mint.intel_roots()
    options = {"endorsements": mint.endorsements(), "roots": roots}
    found = tried("sgx-quote", v3(), **options)
    assert found.verified.facts["tcb-status"] == "unknown"
    assert "tcb-current" not in found.appraised.attested.claims
    assert found.appraised.vector.hardware == 0
    for wrong in ({"signer": b"x" * 32}, {"product": 2}, {"attributes": 0x13}):
        assert tried("sgx-quote", v3(qe=wrong), **options).reason == "qe_identity"


TDX = [
    ("debug", {"attributes": 1 << 28 | 1}),
    ("sept_ve", {"attributes": 0}),
    ("migratable", {"attributes": 1 << 28 | 1 << 29}),
    ("service_td", {"service": b"\1" * 48, "size": 648}),
    ("mbz", {"attributes": 1 << 28 | 1 << 20}),
    ("mbz", {"seam": b"\1" + bytes(7)}),
    ("tcb_module", {"svn": b"\x05\x07"}),
    ("tcb_module", {"seam_signer": b"s" * 48}),
    ("tcb_none", {"svn": b"\x01\x01"}),
    ("nonce", {"data": b"stale"}),
]


@pytest.mark.parametrize(("reason", "body"), TDX)
def test_a_td_quote_with_one_thing_wrong(reason, body):
    bundle = None
    if "seam" in body:
        mask = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "00" * 8}
        levels = [{"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"}]
        bundle = mint.collateral("TDX", tcb={"tdxModuleIdentities": [{"id": "TDX_01", **mask, "tcbLevels": levels}]})
    version = 5 if "size" in body else 4
    assert tdx(mint.quote(version, mint.td_body(**body), tee=0x81), bundle).reason == reason


def level(status, **more):
    return [mint.tcb_level(status, **more)]


OLD_MODULE = {"svn": b"\x02\x01"}
COLLATERAL = [
    ("", {}),
    ("tcb_revoked", {"levels": level("Revoked")}),
    ("tcb_revoked", {"qe_levels": [{"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "Revoked"}]}),
    ("tcb_none", {"levels": level("UpToDate", svn=6)}),
    ("tcb_none", {"levels": level("UpToDate", pce=14)}),
    ("tcb_none", {"tcb": {"tcbLevels": []}}),
    ("tcb_unknown", {"levels": level("Splendid")}),
    ("tcb_expired", {"tcb": {"nextUpdate": "2026-05-31T23:59:59Z"}}),
    ("tcb_expired", {"tcb": {"issueDate": "2026-06-03T00:00:00Z"}}),
    ("qe_expired", {"qe": {"nextUpdate": "2026-05-31T23:59:59Z"}}),
    ("tcb_fmspc", {"tcb": {"fmspc": "000000000000"}}),
    ("tcb_fmspc", {"tcb": {"pceId": "0001"}}),
    ("collateral", {"tcb": {"id": "TDX"}}),
    ("collateral", {"tcb": {"version": 2}}),
    ("collateral", {"tcb": {"nextUpdate": "tomorrow"}}),
    ("qe_identity", {"qe": {"id": "TD_QE"}}),
    ("qe_identity", {"qe": {"mrsigner": "11" * 32}}),
    ("tcb_signature", {"spoil": {"tcb_info_signature": "00" * 64}}),
    ("tcb_signature", {"sign": "somebody"}),
    ("qe_signature", {"spoil": {"qe_identity_signature": "11" * 64}}),
    ("collateral", {"spoil": {"tcb_info_signature": "xy"}}),
    ("collateral_missing", {"spoil": {"tcb_info_issuer_chain": "", "qe_identity_issuer_chain": ""}}),
    ("crl_missing", {"spoil": {"root_ca_crl": "", "pck_crl": ""}}),
    ("crl_issuer", {"spoil": {"pck_crl": ""}}),
    ("crl_issuer", {"lists": lambda: mint.intel_lists(pck_issuer=("Somebody", "other"))}),
    ("crl_signature", {"lists": lambda: mint.intel_lists(pck_issuer=("Intel SGX PCK Platform CA", "other"))}),
    ("crl_expired", {"lists": lambda: mint.intel_lists(end=PAST)}),
    ("revoked", {"lists": lambda: mint.intel_lists(pck_serials=[99])}),
    ("revoked", {"lists": lambda: mint.intel_lists(root_serials=[55])}),
    ("revoked", {"lists": lambda: mint.intel_lists(root_serials=[56])}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "options"), COLLATERAL)
def test_collateral_with_one_thing_wrong(reason, options):
    options = {name: value() if callable(value) else value for name, value in options.items()}
    assert sgx(v3(), mint.collateral(**options)).reason == reason


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        ("OutOfDate", {"levels": level("OutOfDate")}),
        ("OutOfDate", {"qe_levels": [{"tcb": {"isvsvn": 5}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"}, {"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}]}),
        ("SWHardeningNeeded", {"levels": level("SWHardeningNeeded")}),
        ("ConfigurationNeeded", {"levels": level("ConfigurationNeeded")}),
        ("OutOfDateConfigurationNeeded", {"levels": level("ConfigurationNeeded"), "qe_levels": [{"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}]}),
    ],
)  # fmt: skip
def test_a_tcb_that_is_not_current_is_a_fact_and_gives_no_claim(wanted, options):
    found = sgx(v3(), mint.collateral(**options))
    assert found.ok, found.text
    assert found.verified.facts["tcb-status"] == wanted
    assert "tcb-current" not in found.appraised.attested.claims
    assert found.appraised.status is Tier.WARNING


def test_an_old_module_ages_a_td_and_a_newer_one_under_it_advises_to_start_again():
    old = tdx(mint.quote(4, mint.td_body(**OLD_MODULE), tee=0x81))
    assert old.verified.facts["tcb-status"] == "OutOfDate"
    updated = tdx(mint.quote(5, mint.td_body(size=648, **OLD_MODULE), tee=0x81))
    assert updated.verified.facts["tcb-status"] == "TDRelaunchAdvised"
    assert "tcb-current" not in updated.appraised.attested.claims


def test_an_event_log_that_is_brought_along_replays_to_the_registers():
    digests = [bytes([place]) * 48 for place in range(5)]
    log = mint.ccel((1, digests[0]), (2, digests[1]), (3, digests[2]), (1, digests[3]))
    registers = [mint.extended(digests[0], digests[3]), mint.extended(digests[1]), mint.extended(digests[2])]
    bundle = mint.collateral("TDX")

    def judged(last, *logs):
        data = mint.quote(4, mint.td_body(rtmrs=(*registers, last)), tee=0x81)
        wrapped = json.dumps({"quote": mint.url(data), "cc_eventlog": mint.url(logs[0])}).encode() if logs else data
        more = bundles.read(log).endorsements() if len(logs) > 1 else mint.endorsements()
        endorsements = mint.endorsements(documents=[bundle]).joined(more)
        return tried("tdx-quote", wrapped, endorsements, mint.intel_roots())

    assert judged(bytes(48), log).verified.facts["log-covers"] == ("rtmr0", "rtmr1", "rtmr2", "rtmr3")
    assert judged(b"x" * 48, log).verified.facts["log-covers"] == ("rtmr0", "rtmr1", "rtmr2"), (
        "the system's own register"
    )
    assert judged(bytes(48)).verified.facts["log-covers"] == ()
    named = log[:-64] + mint.ccel((4, digests[4]))[len(mint.ccel()) - 64 :]
    assert judged(mint.extended(digests[4]), named).ok
    for other in (
        named,
        mint.ccel((1, digests[0])),
        mint.ccel((1, digests[3]), (1, digests[0]), (2, digests[1]), (3, digests[2])),
    ):
        assert judged(bytes(48), other).reason == "log_replay"
    assert judged(bytes(48), log[:200]).reason == "log_truncated"
    assert judged(bytes(48), log, log).reason == "envelope_evidence"


# -- tokens

PSA = [
    ("cose_mac0", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), tag=17)),
    ("cose_shape", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), tag=98)),
    ("cose_alg", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), headers={4: b"k"})),
    ("cose_alg", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), headers={}, unprotected={1: -7})),
    ("cose_alg", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), headers={1: 5})),
    ("cose_shape", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), unprotected={1: -7})),
    ("cose_crit", lambda: mint.sign1(mint.key("iak"), mint.cbor(mint.psa_claims()), headers={1: -7, 2: [1]})),
    ("sig_key_mismatch", lambda: mint.sign1(mint.key("other", P384), mint.cbor(mint.psa_claims()), alg=-35)),
    ("signature", lambda: mint.sign1(mint.key("another"), mint.cbor(mint.psa_claims()))),
    ("trailing", lambda: mint.psa() + b"\0"),
    ("truncated", lambda: mint.psa()[:-1]),
    ("claim_nonce", lambda: mint.psa(_10=b"n" * 31)),
    ("claim_missing", lambda: mint.psa(_10=...)),
    ("claim_type", lambda: mint.psa(_10="n" * 32)),
    ("claim_instance", lambda: mint.psa(_256=b"\1" * 32)),
    ("claim_instance", lambda: mint.psa(_256=b"\2" * 33)),
    ("claim_size", lambda: mint.psa(_2396=b"i" * 31)),
    ("claim_missing", lambda: mint.psa(_2395=...)),
    ("claim_type", lambda: mint.psa(_2395="secured")),
    ("claim_type", lambda: mint.psa(_2395=True)),
    ("lifecycle", lambda: mint.psa(_2395=0x5000)),
    ("lifecycle", lambda: mint.psa(_2395=0)),
    ("lifecycle", lambda: mint.psa(_2395=-1)),
    ("claim_software", lambda: mint.psa(_2399=[])),
    ("claim_software", lambda: mint.psa(_2399=...)),
    ("claim_missing", lambda: mint.psa(_2399=[{1: "BL"}])),
    ("claim_software", lambda: mint.psa(_2399=[{2: b"m", 5: b"s" * 32}])),
    ("claim_profile", lambda: mint.psa(_265="http://example.com")),
    ("claim_profile", lambda: mint.psa(_265=...)),
    ("claim_type", lambda: mint.psa(_265=7)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "token"), PSA)
def test_a_psa_token_with_one_thing_wrong(reason, token):
    assert psa(token()).reason == reason


def test_a_psa_token_may_be_tagged_as_a_cwt_once():
    token = mint.psa()
    assert psa(b"\xd8\x3d" + token).ok
    assert psa(b"\xd8\x3d\xd8\x3d" + token).reason == "cose_shape"
    assert psa(b"\xd8\x3d" + token[1:]).reason == "cose_shape", "a CWT tag before no COSE tag"


def test_a_psa_token_says_whose_key_it_is():
    assert psa(mint.psa()).verified.facts["key-bound"]
    assert not psa(mint.psa(_256=b"\1" * 33)).verified.facts["key-bound"]
    assert psa(mint.psa(), roots=mint.roots()).reason == "root_untrusted"


CCA = [
    ("cca_collection", lambda: mint.cbor({44234: b"", 44241: b""})),
    ("cca_collection", lambda: mint.cca(tag=398)),
    ("cca_collection", lambda: mint.cbor(mint.Tagged((399, {44234: b"", 44241: b"", 44242: b""})))),
    ("binding", lambda: mint.cca(challenge=bytes(32))),
    ("claim_nonce", lambda: mint.cca(challenge=bytes(31))),
    ("signature", lambda: mint.cca(rak_signer="another")),
    ("lifecycle", lambda: mint.cca(platform={2395: 0x4003})),
    ("claim_profile", lambda: mint.cca(platform={265: "http://example.com"})),
    ("claim_profile", lambda: mint.cca(realm={265: "http://example.com"})),
    ("claim_missing", lambda: mint.cca(platform={2401: ...})),
    ("claim_hash", lambda: mint.cca(platform={2402: "md5"})),
    ("claim_hash", lambda: mint.cca(realm={44236: "sha-1"})),
    ("claim_hash", lambda: mint.cca(realm={44240: "sha-1"})),
    ("claim_nonce", lambda: mint.cca(realm={10: bytes(32)})),
    ("claim_size", lambda: mint.cca(realm={44238: b"r" * 48})),
    ("claim_missing", lambda: mint.cca(realm={44239: [bytes(32)] * 3})),
    ("claim_size", lambda: mint.cca(realm={44239: [bytes(31)] * 4})),
    ("claim_instance", lambda: mint.cca(platform={256: b"\1" * 32})),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "token"), CCA)
def test_a_cca_token_with_one_thing_wrong(reason, token):
    assert cca(token()).reason == reason


@pytest.mark.parametrize("tag", [399, 907])
@pytest.mark.parametrize("cose_key", [False, True])
def test_cca_tokens_in_both_wrappings_and_with_both_kinds_of_key(tag, cose_key):
    assert cca(mint.cca(tag=tag, cose_key=cose_key)).ok


NITRO = [
    ("cose_alg", lambda: mint.nitro(signer="enclave", alg=-7)),
    ("signature", lambda: mint.nitro(signer="another")),
    ("root_untrusted", lambda: mint.nitro(cabundle=[mint.certificate("other", mint.key("o", P384))])),
    ("claim_missing", lambda: mint.nitro(cabundle=[])),
    ("claim_missing", lambda: mint.nitro(certificate=...)),
    ("der", lambda: mint.nitro(certificate=b"\x30\x00")),
    ("oversize", lambda: mint.nitro(cabundle=[mint.aws()[0]] * 7)),
    ("claim_hash", lambda: mint.nitro(digest="SHA256")),
    ("claim_unknown", lambda: mint.nitro(more=1)),
    ("claim_missing", lambda: mint.nitro(pcrs={})),
    ("claim_type", lambda: mint.nitro(pcrs={32: b"p" * 48})),
    ("pcr_len", lambda: mint.nitro(pcrs={0: b"p" * 32})),
    ("oversize", lambda: mint.nitro(user_data=bytes(513))),
    ("oversize", lambda: mint.nitro(public_key=bytes(1025))),
    ("claim_size", lambda: mint.nitro(module_id="")),
    ("claim_size", lambda: mint.nitro(timestamp=0)),
    ("claim_type", lambda: mint.nitro(timestamp="now")),
    ("nonce", lambda: mint.nitro(nonce=None)),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "document"), NITRO)
def test_a_nitro_document_with_one_thing_wrong(reason, document):
    assert nitro(document()).reason == reason


def test_a_debug_enclave_of_nitro_is_genuine_and_worth_nothing():
    found = nitro(mint.nitro(pcrs={0: bytes(48)}))
    assert found.ok
    assert found.appraised.status is Tier.CONTRAINDICATED
    assert found.appraised.attested.claims == ()
    assert nitro(mint.nitro(tag=18)).ok, "tagged or not"


def bundle(change):
    found = json.loads(mint.azure())
    change(found)
    return json.dumps(found).encode()


TWO_KEYS = json.dumps({"keys": [{"kid": "HCLAkPub"}, *json.loads(mint.runtime_data())["keys"]]}).encode()
AZURE = [
    ("binding", lambda: mint.azure(binding=bytes(32))),
    ("debug", lambda: mint.azure(policy=0x30000 | 1 << 19)),
    ("vmpl", lambda: mint.azure(vmpl=1)),
    ("signature", lambda: mint.azure(signer="another")),
    ("pcr_digest", lambda: mint.azure(told=[bytes(32)] * 24)),
    ("pcr_missing", lambda: mint.azure(told=[bytes(32)] * 23)),
    ("pcr_len", lambda: mint.azure(told=[bytes(31)] * 24)),
    ("pcr_select", lambda: mint.azure(chosen=[])),
    ("claim_missing", lambda: mint.azure(runtime=mint.runtime_data("HCLEkPub"))),
    ("envelope_json", lambda: mint.azure(runtime=b"{")),
    ("claim_missing", lambda: mint.azure(runtime=TWO_KEYS)),
    ("weak_key", lambda: mint.azure(runtime=mint.runtime_data().replace(b"AQAB", b"AQAA"))),
    ("envelope_field", lambda: bundle(lambda found: found.pop("tpm_quote"))),
    ("envelope_field", lambda: bundle(lambda found: found.pop("hcl_report"))),
    ("envelope_evidence", lambda: bundle(lambda found: found.update(report="00"))),
    ("endorsement_missing", lambda: bundle(lambda found: found.pop("vcek"))),
    ("magic", lambda: bundle(lambda found: found.update(hcl_report="00" * 2600))),
    ("envelope_encoding", lambda: bundle(lambda found: found.update(hcl_report="?"))),
    ("envelope_encoding", lambda: bundle(lambda found: found.update(hcl_report=[256]))),
    ("envelope_field", lambda: b"[]"),
    ("envelope_json", lambda: b'{"a": 1, "a": 2}'),
    ("truncated", lambda: b" "),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "evidence"), AZURE)
def test_an_azure_bundle_with_one_thing_wrong(reason, evidence):
    found = azure(evidence())
    assert found.reason == reason, found.text


def test_an_azure_vm_on_tdx_is_judged_as_its_hardware_is():
    options = {"endorsements": mint.endorsements(documents=[mint.collateral("TDX")]), "roots": mint.intel_roots()}
    found = tried("azcvm", mint.azure(tdx=True), **options)
    assert found.ok, found.text
    assert found.verified.facts["hardware"] == "tdx"
    assert found.appraised.attested.technology == "azure-cvm", "no row of sev-snp or tdx credits a paravisor's word"
    assert tried("azcvm", mint.azure(tdx=True, binding=bytes(32)), **options).reason == "binding"


PARSEC = [
    ("signature", lambda: mint.parsec(signer="another")),
    ("binding", lambda: mint.parsec(name=b"\0\x0b" + bytes(32))),
    ("binding", lambda: mint.parsec(other=b"later")),
    ("binding", lambda: mint.parsec(certifier=b"r" * 32)),
    ("binding", lambda: mint.parsec(pat_kid=b"\1" * 33)),
    ("ak_attrs", lambda: mint.parsec(area=mint.public_area(mint.key("app"), 0x40040))),
    ("claim_missing", lambda: mint.parsec(drop=["kat"])),
    ("claim_missing", lambda: mint.parsec(drop=["pat"])),
    ("claim_missing", lambda: mint.parsec(drop=[("kat", "pubArea")])),
    ("claim_missing", lambda: mint.parsec(drop=[("pat", "kid")])),
    ("claim_missing", lambda: mint.parsec(drop=[("kat", "tpmVer")])),
    ("envelope_json", lambda: b'{"kat": 1, "pat": 2}'),
    ("cbor", lambda: mint.cbor([])),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "evidence"), PARSEC)
def test_a_parsec_attestation_with_one_thing_wrong(reason, evidence):
    found = parsec(evidence())
    assert found.reason == reason, found.text


@pytest.mark.parametrize("as_json", [False, True])
def test_a_parsec_attestation_needs_its_key_pinned(as_json):
    assert parsec(mint.parsec(as_json=as_json)).ok
    assert parsec(mint.parsec(as_json=as_json), roots=mint.roots()).reason == "root_untrusted"
    assert parsec(mint.parsec(as_json=as_json), roots=mint.roots(keys=[mint.rsa_key("x")])).reason == "sig_key_mismatch"


# -- envelopes


def test_evidence_is_taken_in_the_spellings_it_is_kept_in():
    import base64

    report = mint.snp_report()
    wrapped = [
        report.hex().encode() + b"\n",
        b"0x" + report.hex().upper().encode(),
        base64.b64encode(report),
        base64.encodebytes(report),
        base64.urlsafe_b64encode(report).rstrip(b"="),
        json.dumps({"type": "snp-report/1", "evidence": report.hex()}).encode(),
        json.dumps({"report": base64.b64encode(report).decode(), "vcek": mint.pem(mint.snp_leaf())}).encode(),
        json.dumps(
            {"evidence": list(report), "cert_chain": [{"cert_type": "VCEK", "data": list(mint.snp_leaf())}]}
        ).encode(),
        json.dumps(["application/vnd.amd.sevsnp", mint.url(report)]).encode(),
    ]
    for data in wrapped:
        assert snp(data).ok, data[:40]
    assert tried("snp-report", wrapped[6], mint.endorsements(mint.snp_makers()[1]), mint.snp()[1]).ok, "with its key"
    quoted = {"quote": v3().hex(), "collateral": json.loads(mint.collateral())}
    found = tried("sgx-quote", json.dumps(quoted).encode(), mint.endorsements(), mint.intel_roots())
    assert found.verified.facts["tcb-status"] == "UpToDate"


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("truncated", b""),
        ("truncated", b"\n"),
        ("oversize", b"A" * (4 << 20) + b"A"),
        ("envelope_encoding", b"not evidence!"),
        ("envelope_encoding", b"A"),
        ("envelope_json", b"{"),
        ("envelope_json", b'{"evidence": "00", "evidence": "01"}'),
        ("envelope_json", b'{"evidence": NaN}'),
        ("envelope_json", b"[" * 5000 + b"]" * 5000),
        ("envelope_field", b"{}"),
        ("envelope_field", b"[]"),
        ("envelope_type", b'{"type": "tdx-quote/1", "evidence": "00"}'),
        ("envelope_type", b'{"type": 7, "evidence": "00"}'),
        ("envelope_evidence", b'{"evidence": "00", "report": "00"}'),
        ("envelope_encoding", b'{"evidence": "../../etc/passwd"}'),
        ("envelope_encoding", b'{"evidence": {"a": 1}}'),
        ("envelope_encoding", b'{"evidence": [1, true]}'),
        ("envelope_field", b'{"attestation_report": {"another": 1}}'),
    ],
)
def test_a_wrapping_that_is_not_understood_is_refused_by_name(reason, data):
    assert snp(data).reason == reason


def test_a_damaged_root_is_no_root_and_what_else_lies_there_is_no_root_either():
    root = mint.intel()[0]
    assert bundles.read(root).roots().pins
    assert not bundles.read(root[:-1] + bytes((root[-1] ^ 1,))).roots().pins
    assert not bundles.read(mint.intel()[1]).roots().pins, "an authority under a root"
    assert bundles.read(mint.pem(*mint.intel()).encode()).roots().pins == bundles.read(root).roots().pins


def test_types_go_by_name_and_version():
    for name in registry.KNOWN:
        assert registry.find(name)[0] == registry.find(f"{name}/1")[0] == name
    for name in ("", "snp", "snp-report/", "snp-report/2", "snp-report/1/1", "../snp-report"):
        with pytest.raises(Rejected, match="envelope_type"):
            registry.find(name)


def test_collateral_of_odd_shapes_is_refused():
    for odd in (
        b'{"tcb_info": 7}',
        b'{"tcbInfo": {}, "signature": "zz"}',
        b'{"enclaveIdentity": [}',
        b'"tcb_info"',
    ):
        with pytest.raises(Rejected):
            collateral.gather(mint.endorsements(documents=[odd]))
