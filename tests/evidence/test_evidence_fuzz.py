"""Mutations of every parser's food: whatever comes, only Rejected escapes. FUZZ_N mutations each, 1000 where nothing is said."""

import base64
import json
import os
import random

import mint
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from propolis.crypto import cbor, cose, crl, keys, paths, x509
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import (
    bundles,
    collateral,
    dcap_quote,
    hcl,
    jsonic,
    pck,
    registry,
    snp_report,
)
from propolis.terms.errors import Rejected

FUZZ_N = int(os.environ.get("FUZZ_N", "1000"))
P384 = ec.SECP384R1
LENGTHS = (
    b"\0\0\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\x84\xff\xff\xff\xff",
    b"\x9f",
    b"\xbf",
    b"\x5f",
)


def mutated(dice, data):
    """Change a seed in one to four ways: bits, lengths, cuts, repeats, insertions."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(6):
            case 0 if out:
                out[min(at, len(out) - 1)] ^= 1 << dice.randrange(8)
            case 1:
                out[at : at + dice.randint(0, 8)] = dice.choice(LENGTHS)
            case 2:
                del out[at:]
            case 3:
                out[at:at] = out[at : at + dice.randint(1, 64)]
            case 4:
                out[at:at] = dice.randbytes(dice.randint(1, 8))
            case 5:
                del out[at : at + dice.randint(1, 16)]
    return bytes(out)


def certificate(data):
    found = x509.parse(data)
    assert isinstance(found.pin, str)
    (
        found.key,
        found.authority(),
        found.purposes(),
        found.may_sign_certificates(),
        found.may_sign_lists(),
        found.understood(),
    )
    keys.check(found.key, found.algorithm, found.tbs, found.signature)
    paths.build(found, [found], Roots(pins=frozenset({found.pin})), mint.NOW)


def verifier(kind, endorsements, roots):
    def run(data):
        technology = registry.KNOWN[kind]
        evidence, brought = technology.unwrap(data, kind)
        verified = technology.verify(evidence, brought.joined(endorsements), None, roots, mint.NOW)
        technology.appraise(verified)

    return run


def with_collateral(data):
    endorsements = mint.endorsements(documents=[data])
    registry.KNOWN["sgx-quote"].verify(mint.quote(3, mint.sgx_body()), endorsements, None, mint.intel_roots(), mint.NOW)


def resigned_collateral(dice):
    """Collateral that is signed, and of odd content: a key that is stolen must crash nobody."""
    found = json.loads(mint.collateral())["tcb_info"]
    changed = mutated(dice, found.encode()).decode("utf-8", "replace")
    signature = mint.raw_signature(mint.key("tcb"), changed.encode(), mint.hashes.SHA256(), 32).hex()
    return json.dumps({**json.loads(mint.collateral()), "tcb_info": changed, "tcb_info_signature": signature}).encode()


def resigned_claims(dice):
    return mint.sign1(mint.key("iak"), mutated(dice, mint.cbor(mint.psa_claims())))


def resigned_document(dice):
    payload = cbor.decode(mint.nitro())[2]
    return mint.sign1(mint.key("enclave", P384), mutated(dice, payload), alg=-35, tag=None)


def snp_json():
    report = mint.snp_report()
    spans = {"family_id": (0x10, 16), "image_id": (0x20, 16), "report_data": (0x50, 64), "measurement": (0x90, 48), "host_data": (0xC0, 32), "id_key_digest": (0xE0, 48), "author_key_digest": (0x110, 48), "report_id": (0x140, 32), "report_id_ma": (0x160, 32), "chip_id": (0x1A0, 64)}  # fmt: skip
    tcb = {"fmc": None, "bootloader": 10, "tee": 1, "snp": 23, "microcode": 84}
    fields = {name: list(report[at : at + size]) for name, (at, size) in spans.items()}
    fields |= dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb)
    fields |= {
        "version": 3,
        "policy": 0x30000,
        "sig_algo": 1,
        "plat_info": 0x20,
        "cpuid_fam_id": 0x19,
        "cpuid_mod_id": 0x11,
        "cpuid_step": 1,
    }
    fields |= {name: {"major": 0, "minor": 0, "build": 0} for name in ("current", "committed")}
    fields["signature"] = {"r": list(report[0x2A0:0x2E8]), "s": list(report[0x2E8:0x330])}
    chain = [{"cert_type": "VCEK", "data": base64.b64encode(mint.snp_leaf()).decode()}]
    return json.dumps({"attestation_report": fields, "cert_chain": chain}).encode()


SEEDS = {
    "certificate": (certificate, lambda: mint.certificate("root", mint.key("root", P384), extensions=[("1.2.3", b"\5\0", False)])),
    "pck": (lambda data: pck.read(x509.parse(data)), mint.pck),
    "list": (crl.parse, lambda: mint.revocations("root", mint.key("root", P384), [1, 2, 3])),
    "key": (keys.read, lambda: mint.spki(mint.rsa_key("root"))),
    "pem": (bundles.read, lambda: mint.pem(*mint.intel()).encode()),
    "jwk": (bundles.read, lambda: json.dumps({"kty": "EC", "crv": "P-256", "x": mint.url(b"x" * 32), "y": mint.url(b"y" * 32)}).encode()),
    "cbor": (cbor.decode, mint.psa),
    "cose": (lambda data: cose.parse(cbor.decode(data)), mint.psa),
    "json": (jsonic.read, mint.azure),
    "snp report": (snp_report.parse, mint.snp_report),
    "quote": (dcap_quote.parse, lambda: mint.quote(5, mint.td_body(size=648), tee=0x81)),
    "collateral": (with_collateral, mint.collateral),
    "hcl": (hcl.parse, lambda: mint.hcl_report(mint.snp_report(), mint.runtime_data())),
    "runtime": (hcl.runtime, mint.runtime_data),
    "snp": (lambda data: verifier("snp-report", *mint.snp())(data), mint.snp_report),
    "snp json": (lambda data: verifier("snp-report", *mint.snp())(data), snp_json),
    "sgx": (lambda data: verifier("sgx-quote", mint.endorsements(), mint.intel_roots())(data), lambda: mint.quote(3, mint.sgx_body())),
    "tdx": (lambda data: verifier("tdx-quote", mint.endorsements(documents=[mint.collateral("TDX")]), mint.intel_roots())(data), lambda: mint.quote(4, mint.td_body(), tee=0x81)),
    "psa": (lambda data: verifier("psa-token", mint.endorsements(), mint.roots(keys=[mint.key("iak")]))(data), mint.psa),
    "cca": (lambda data: verifier("cca-token", mint.endorsements(), mint.roots(keys=[mint.key("cpak", P384)]))(data), mint.cca),
    "nitro": (lambda data: verifier("nitro-doc", mint.endorsements(), mint.roots(mint.aws()[0]))(data), mint.nitro),
    "azure": (lambda data: verifier("azcvm", mint.endorsements(mint.snp_makers()[1]), mint.snp()[1])(data), mint.azure),
    "parsec": (lambda data: verifier("parsec-tpm", mint.endorsements(), mint.roots(keys=[mint.key("ak")]))(data), mint.parsec),
    "parsec json": (lambda data: verifier("parsec-tpm", mint.endorsements(), mint.roots(keys=[mint.key("ak")]))(data), lambda: mint.parsec(as_json=True)),
}  # fmt: skip

SIGNED = {  # what only a maker could send: the signature holds, the content is odd
    "collateral": (with_collateral, resigned_collateral),
    "psa": (SEEDS["psa"][0], resigned_claims),
    "nitro": (SEEDS["nitro"][0], resigned_document),
}


@pytest.mark.parametrize("name", SEEDS)
def test_only_a_refusal_escapes_a_parser(name):
    run, seed = SEEDS[name]
    data, dice = seed(), random.Random(name)
    run_refused(run, data if name != "jwk" else None)
    for _ in range(FUZZ_N):
        run_refused(run, mutated(dice, data))


@pytest.mark.parametrize("name", SIGNED)
def test_only_a_refusal_escapes_what_a_makers_key_signed(name):
    run, make = SIGNED[name]
    dice = random.Random(name)
    for _ in range(FUZZ_N):
        run_refused(run, make(dice))


def run_refused(run, data):
    try:
        if data is not None:
            run(data)
    except Rejected:
        pass


def test_collateral_of_odd_shapes_is_refused():
    for odd in (
        b'{"tcb_info": 7}',
        b'{"tcbInfo": {}, "signature": "zz"}',
        b'{"enclaveIdentity": [}',
        b'"tcb_info"',
    ):
        with pytest.raises(Rejected):
            collateral.gather(mint.endorsements(documents=[odd]))
