"""Another verifier beside ours, on the same quotes: where it is installed (pip install dcap-qvl), the two agree.

It is an oracle for tests only. Ours is stricter in what is listed here, and nowhere more lenient.
"""

import json

import mint
import pytest

from propolis.decisions.appraisal.judge import judge

qvl = pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed; it is an oracle, not a dependency")


def theirs(quote, bundle):
    """Return their status, or "" for a refusal."""
    fields = json.loads(bundle)
    collateral = qvl.QuoteCollateralV3.from_json(json.dumps(fields))
    try:
        return str(qvl.verify_with_root_ca(quote, collateral, mint.intel()[0], int(mint.NOW)).status)
    except ValueError:
        return ""


def our(kind, quote, bundle):
    endorsements = mint.endorsements(documents=[bundle])
    found = judge(kind, quote, endorsements=endorsements, nonce=None, roots=mint.intel_roots(), now=mint.NOW)
    return found.verified.facts["tcb-status"] if found.ok else ""


def level(status, **more):
    return [mint.tcb_level(status, **more)]


OLD_QE = [{"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}]
BUNDLES = [
    {},
    {"levels": level("OutOfDate", advisoryIDs=["INTEL-SA-00615"])},
    {"levels": level("SWHardeningNeeded")},
    {"levels": level("ConfigurationNeeded")},
    {"levels": level("ConfigurationAndSWHardeningNeeded")},
    {"levels": level("OutOfDateConfigurationNeeded")},
    {"levels": level("Revoked")},
    {"levels": level("UpToDate", svn=6)},
    {"levels": level("UpToDate", pce=14)},
    {"qe_levels": OLD_QE},
    {"qe_levels": OLD_QE, "levels": level("SWHardeningNeeded")},
    {"qe_levels": OLD_QE, "levels": level("ConfigurationNeeded")},
    {"qe_levels": OLD_QE, "levels": level("ConfigurationAndSWHardeningNeeded")},
    {"qe": {"mrsigner": "11" * 32}},
    {"qe": {"nextUpdate": "2026-05-31T23:59:59Z"}},
    {"tcb": {"nextUpdate": "2026-05-31T23:59:59Z"}},
    {"tcb": {"fmspc": "000000000000"}},
    {"sign": "somebody"},
]


@pytest.mark.parametrize("options", BUNDLES, ids=str)
def test_both_judge_collateral_alike(options):
    quote, bundle = mint.quote(3, mint.sgx_body()), mint.collateral(**options)
    assert our("sgx-quote", quote, bundle) == theirs(quote, bundle)
    quote, bundle = mint.quote(4, mint.td_body(), tee=0x81), mint.collateral("TDX", **options)
    if "qe" not in options or "mrsigner" in options["qe"]:
        assert our("tdx-quote", quote, bundle) == theirs(quote, bundle)


BODIES = [
    {},
    {"attributes": 1 << 28 | 1},
    {"attributes": 0},
    {"svn": b"\x02\x01"},
    {"svn": b"\x01\x01"},
    {"svn": b"\x05\x07"},
    {"size": 648},
    {"size": 648, "service": b"\1" * 48},
    {"size": 648, "svn": b"\x02\x01"},
]


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_both_judge_trust_domains_alike(body):
    quote = mint.quote(5 if "size" in body else 4, mint.td_body(**body), tee=0x81)
    assert our("tdx-quote", quote, mint.collateral("TDX")) == theirs(quote, mint.collateral("TDX"))


def test_ours_is_stricter_in_what_follows_a_quote_and_nowhere_more_lenient():
    quote, bundle = mint.quote(3, mint.sgx_body()), mint.collateral()
    assert theirs(quote + b"\1", bundle)
    assert not our("sgx-quote", quote + b"\1", bundle)
    chain = quote.index(
        b"-----BEGIN"
    )  # a certificate of the chain may come with the collateral too, and then counts from there
    for at in range(0, chain, 3):
        flipped = quote[:at] + bytes((quote[at] ^ 1 << at % 8,)) + quote[at + 1 :]
        assert theirs(flipped, bundle) or not our("sgx-quote", flipped, bundle), at
