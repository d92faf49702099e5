"""Every single bit of what is signed: flipped, the evidence is refused (docs/specs/evidence.md, V8).

For the short layouts all bits are tried; of the long tokens one bit of every byte, unless FUZZ_N asks for more than usual.
"""

import json
import os

import mint
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mint import NONCE, NOW

from propolis.crypto import cbor
from propolis.decisions.appraisal import dcap_quote, registry
from propolis.terms.errors import Rejected

P384 = ec.SECP384R1
THOROUGH = int(os.environ.get("FUZZ_N", "1000")) > 1000


def bits(start, end, *, all_of_them):
    for at in range(start, end):
        for bit in range(8) if all_of_them or THOROUGH else [at % 8]:
            yield at, 1 << bit


def all_refused(kind, data, places, endorsements, roots):
    technology = registry.KNOWN[kind]
    assert technology.verify(data, endorsements, NONCE, roots, NOW).fresh
    tried = 0
    for at, mask in places:
        flipped = data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]
        try:
            technology.verify(flipped, endorsements, NONCE, roots, NOW)
        except Rejected:
            tried += 1
        else:
            pytest.fail(f"bit {mask} of byte {at} flipped, and nobody minds")
    assert tried == len(places)


def places(*spans, all_of_them=True):
    return [place for start, end in spans for place in bits(start, end, all_of_them=all_of_them)]


@pytest.mark.parametrize("start", range(0, 0x2A0, 0xA8))
def test_a_report_of_snp(start):
    endorsements, roots = mint.snp()
    all_refused("snp-report", mint.snp_report(), places((start, start + 0xA8)), endorsements, roots)


def test_the_signature_of_a_report_of_snp():
    endorsements, roots = mint.snp()
    all_refused("snp-report", mint.snp_report(), places((0x2A0, 1184), all_of_them=False), endorsements, roots)


@pytest.mark.parametrize(("kind", "version"), [("sgx-quote", 3), ("tdx-quote", 4), ("tdx-quote", 5)])
def test_a_quote_its_signature_its_key_and_the_quoting_enclave(kind, version):
    body = mint.sgx_body() if kind == "sgx-quote" else mint.td_body()
    data = mint.quote(version, body, tee=0 if kind == "sgx-quote" else 0x81)
    quote = dcap_quote.parse(data)
    signed = len(quote.signed)
    key_end = signed + 4 + 128
    report = key_end + (6 if version > 3 else 0)
    auth = report + 384 + 64 + 2
    spans = places((0, signed)) + places((signed + 4, key_end), (report, auth + len(quote.qe_auth)), all_of_them=False)
    all_refused(kind, data, spans, mint.endorsements(), mint.intel_roots())


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_collateral_to_the_last_character(part):
    bundle, quote = json.loads(mint.collateral()), mint.quote(3, mint.sgx_body())
    text = bundle[part]
    for at in range(0, len(text), 1 if THOROUGH else 7):
        changed = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        endorsements = mint.endorsements(documents=[json.dumps({**bundle, part: changed}).encode()])
        with pytest.raises(Rejected):
            registry.KNOWN["sgx-quote"].verify(quote, endorsements, NONCE, mint.intel_roots(), NOW)


def spans_of(data, *inner):
    """Where byte strings stand in evidence."""
    return [(data.index(each), data.index(each) + len(each)) for each in inner]


def test_a_psa_token_its_header_its_claims_and_its_signature():
    data = mint.psa()
    protected, _, payload, signature = cbor.decode(data).value
    spans = spans_of(data, protected, payload, signature)
    all_refused("psa-token", data, places(*spans), mint.endorsements(), mint.roots(keys=[mint.key("iak")]))


def test_both_tokens_of_a_cca_collection():
    data = mint.cca()
    spans = []
    for token in cbor.decode(data).value.values():
        protected, _, payload, signature = cbor.decode(token).value
        start = data.index(token)
        spans += [(start + a, start + b) for a, b in [(3, 3 + len(protected)), *spans_of(token, payload, signature)]]
    roots = mint.roots(keys=[mint.key("cpak", P384)])
    all_refused("cca-token", data, places(*spans, all_of_them=False), mint.endorsements(), roots)


def test_a_nitro_document():
    data = mint.nitro()
    _, _, payload, signature = cbor.decode(data)
    roots = mint.roots(mint.aws()[0])
    spans = spans_of(data, payload, signature)
    all_refused("nitro-doc", data, places(*spans, all_of_them=False), mint.endorsements(), roots)


def test_the_four_links_of_an_azure_bundle():
    bundle = json.loads(mint.azure())
    endorsements, roots = mint.endorsements(mint.snp_makers()[1]), mint.snp()[1]
    message, signature = (bytes.fromhex(bundle["tpm_quote"][name]) for name in ("message", "signature"))
    runtime = mint.runtime_data()
    report = mint.hcl_report(mint.snp_report(data=mint.sha256(runtime).digest()), runtime)
    start = 32 + 1184 + 20

    def refused(**changes):
        found = {**bundle, **changes}
        with pytest.raises(Rejected):
            registry.KNOWN["azcvm"].verify(json.dumps(found).encode(), endorsements, NONCE, roots, NOW)

    def flipped(data, at):
        return data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]

    for at in range(len(message)):
        refused(tpm_quote={**bundle["tpm_quote"], "message": flipped(message, at).hex()})
    for at in range(len(signature)):
        refused(tpm_quote={**bundle["tpm_quote"], "signature": flipped(signature, at).hex()})
    for at in (*range(32, 32 + 0x2A0, 3), *range(start, start + len(runtime), 3)):
        refused(hcl_report=mint.url(flipped(report, at)))
    for place in range(24):
        values = [*bundle["tpm_quote"]["pcrs"]]
        values[place] = flipped(bytes.fromhex(values[place]), place).hex()
        refused(tpm_quote={**bundle["tpm_quote"], "pcrs": values})


def test_a_parsec_attestation():
    data = mint.parsec()
    tokens = cbor.decode(data)
    spans = spans_of(data, tokens["kat"]["certInfo"], tokens["pat"]["attestInfo"], tokens["kat"]["pubArea"])
    spans += spans_of(data, tokens["kat"]["sig"], tokens["pat"]["sig"])
    all_refused("parsec-tpm", data, places(*spans), mint.endorsements(), mint.roots(keys=[mint.key("ak")]))
