"""Every bit of every type of evidence, flipped: it is refused, or stands where nothing is signed (docs/specs/evidence.md, V8, U1-U9).

All bits of the whole evidence, not of the signed part alone. Of more than 20,000 bits a seeded third is tried, and all of them
in the nightly run (FUZZ_N over 1000). What may be flipped unnoticed is exactly what the page lists.
"""

import json
import os
import random
import re
from pathlib import Path

import mint
import mint_tpm
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mint import NONCE, NOW

from propolis.crypto.tpm import public
from propolis.decisions.appraisal import eventlog, quote, registry, tpm2
from propolis.decisions.appraisal.firmware import Kind
from propolis.terms.errors import Rejected

P384 = ec.SECP384R1
THOROUGH = int(os.environ.get("FUZZ_N", "1000")) > 1000
WHOLE = 20_000  # bits that are all tried at every run
SEED = 20261125
PAGE = Path(__file__).parents[2] / "docs/specs/evidence.md"
pytestmark = pytest.mark.timeout(1200 if THOROUGH else 120)


def tried(data, name, listed):
    """Which bits are flipped; of short places that the page lists always all."""
    everything = range(8 * len(data))
    if len(everything) <= WHOLE or THOROUGH:
        return everything
    third = set(random.Random(f"{SEED}/{name}").sample(everything, len(everything) // 3))
    return third.union(
        8 * at + bit for places in listed.values() if len(places) < 100 for at in places for bit in range(8)
    )


def unnoticed(data, verify, name, listed):
    """Bytes of which a flipped bit is taken."""
    verify(data)
    found = set()
    for place in tried(data, name, listed):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        try:
            verify(bytes(flipped))
        except Rejected:
            continue
        found.add(place // 8)
    return found


def held_to(data, verify, listed, name, *, exactly=()):
    """What goes unnoticed lies where the page says; in each listed place something does, and of `exactly` every byte."""
    found = unnoticed(data, verify, name, listed)
    allowed = set().union(*listed.values()) if listed else set()
    assert sorted(found - allowed) == [], f"{name}: flipped, and nobody minds"
    for what, places in listed.items():
        assert what in UNSIGNED, f"{what} is not on the page"
        assert found & places, f"{name}: {what} is listed, and every flip there is refused"
        if what in exactly:
            assert places <= found, f"{name}: {what}"


UNSIGNED = re.findall(r"^- \*\*U\d+\*\* `([a-z-]+)`", PAGE.read_text(), re.MULTILINE)


def technology(kind, endorsements, roots):
    def verify(data):
        known = registry.KNOWN[kind]
        return known.appraise(known.verify(data, endorsements, NONCE, roots, NOW))

    return verify


SIGNED_WHOLE = {
    "snp report": lambda: ("snp-report", mint.snp_report(), *mint.snp()),
    "snp report by a cloud": lambda: ("snp-report", mint.snp_report(kind="vlek"), *mint.snp("vlek")),
    "psa": lambda: ("psa-token", mint.psa(), mint.endorsements(), mint.roots(keys=[mint.key("iak")])),
    "cca": lambda: ("cca-token", mint.cca(), mint.endorsements(), mint.roots(keys=[mint.key("cpak", P384)])),
    "nitro": lambda: ("nitro-doc", mint.nitro(), mint.endorsements(), mint.roots(mint.aws()[0])),
    "parsec": lambda: ("parsec-tpm", mint.parsec(), mint.endorsements(), mint.roots(keys=[mint.key("ak")])),
}


@pytest.mark.parametrize("name", SIGNED_WHOLE)
def test_evidence_of_which_every_bit_counts(name):
    kind, data, *trust = SIGNED_WHOLE[name]()
    held_to(data, technology(kind, *trust), {}, name)


def of_the_chain(data):
    """Where a DCAP quote's chain of certificates is text that nobody signs."""
    start = data.index(b"-----BEGIN")
    end = data.index(b"-----END", start)
    after = data.index(b"\n", end)
    digits = data[start:end].rstrip(b"\n=")
    return {
        "chain-line-ends": {at for at in range(start, after) if data[at] == 10},
        "chain-spare-bits": {start + len(digits) - 1},
        "chain-above-the-leaf": set(range(after, len(data))),
    }


QUOTES = {"sgx 3": ("sgx-quote", 3, 0), "sgx 5": ("sgx-quote", 5, 0), "tdx 4": ("tdx-quote", 4, 584), "tdx 5": ("tdx-quote", 5, 648)}  # fmt: skip


@pytest.mark.parametrize("name", QUOTES)
def test_a_quote_its_signature_its_key_the_quoting_enclave_and_its_certificate(name):
    kind, version, size = QUOTES[name]
    body = mint.td_body(size=size) if size else mint.sgx_body()
    data = mint.quote(version, body, tee=0x81 if size else 0)
    endorsed = mint.endorsements(documents=[mint.collateral("TDX" if size else "SGX")])
    listed = of_the_chain(data)
    if data[max(listed["chain-spare-bits"]) + 1 :][:1] != b"=":
        del listed["chain-spare-bits"]  # a certificate whose size is a multiple of three has none
    held_to(data, technology(kind, endorsed, mint.intel_roots()), listed, name, exactly=("chain-line-ends",))


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_collateral_to_the_last_bit(part):
    bundle, data = json.loads(mint.collateral()), mint.quote(3, mint.sgx_body())

    def verify(text):
        changed = json.dumps({**bundle, part: text.decode("latin-1")}).encode()
        documents = mint.endorsements(documents=[changed])
        registry.KNOWN["sgx-quote"].verify(data, documents, NONCE, mint.intel_roots(), NOW)

    held_to(bundle[part].encode(), verify, {}, part)


# -- Azure: several links in one bundle


BUNDLE = json.loads(mint.azure())
JUDGED = technology("azcvm", mint.endorsements(mint.snp_makers()[1]), mint.snp()[1])


def azure(**changes):
    return JUDGED(json.dumps({**BUNDLE, **changes}).encode())


def test_the_hcl_report_of_an_azure_bundle():
    runtime = mint.runtime_data()
    report = mint.hcl_report(mint.snp_report(data=mint.sha256(runtime).digest()), runtime)
    listed = {"hcl-head": set(range(8, 32)), "hcl-runtime-head": set(range(32 + 1184, 32 + 1184 + 8))}
    held_to(report, lambda data: azure(hcl_report=mint.url(data)), listed, "hcl", exactly=tuple(listed))


@pytest.mark.parametrize("part", ["message", "signature", "pcrs"])
def test_the_vtpms_quote_of_an_azure_bundle(part):
    quoted = BUNDLE["tpm_quote"]

    def verify(data):
        value = [data[at : at + 32].hex() for at in range(0, len(data), 32)] if part == "pcrs" else data.hex()
        azure(tpm_quote={**quoted, part: value})

    held_to(bytes.fromhex("".join(quoted[part])), verify, {}, f"azure {part}")


# -- TPM quotes, with all that comes beside them

LOG, LIST = mint_tpm.firmware_log(), mint_tpm.ima_list(3)


EVIDENCE, ROOTS = mint_tpm.evidence(LOG, LIST), mint_tpm.maker_roots()
ASKED = quote.Asked(binding=NONCE, pcrs=mint_tpm.PCRS, ek_name=public.parse(EVIDENCE.ek).name)


def examined(**changes):
    return tpm2.examine(msgspec.structs.replace(EVIDENCE, **changes), ASKED, mint.endorsements(), ROOTS, NOW)


@pytest.mark.parametrize("part", ["ak", "attest", "signature", "certificate"])
def test_a_tpm_quote_its_signature_its_key_and_the_certificate(part):
    held_to(getattr(EVIDENCE, part), lambda data: examined(**{part: data}), {}, part)


def test_the_registers_beside_a_tpm_quote():
    def verify(data):
        examined(values={pcr: data[32 * n : 32 * n + 32] for n, pcr in enumerate(mint_tpm.PCRS)})

    held_to(b"".join(EVIDENCE.values[pcr] for pcr in mint_tpm.PCRS), verify, {}, "values")


def test_the_endorsement_keys_area_beside_its_certificate():
    """Type, hash and attributes that are demanded count; others and the policy count once a credential was activated."""
    data = EVIDENCE.ek
    listed = {"ek-attributes-and-policy": {*range(4, 8), *range(10, 42), *range(42, 48)}}
    held_to(data, lambda changed: examined(ek=changed), listed, "ek")


def in_the_log():
    """Where a firmware log is the logger's word: found by reading it entry by entry, as it was made."""
    found = {
        "log-head": set(range(len(mint_tpm.header()))),
        "log-other-banks": set(),
        "log-types": set(),
        "log-data": set(),
    }
    at = len(mint_tpm.header())
    for entry in eventlog.parse(LOG).events:
        size = 4 + 4 + 4 + 22 + 34 + 4 + len(entry.data)
        found["log-other-banks"] |= set(range(at + 14, at + 34))
        states_itself = entry.type in (Kind.SEPARATOR, Kind.VARIABLE_DRIVER_CONFIG) and entry.pcr in (4, 7)
        found["log-types"] |= set(range(at + 4, at + 8))
        found["log-data"] |= set(range(at + 72, at + size)) if not states_itself else set()
        at += size
    assert at == len(LOG)
    return found


def test_the_firmware_log_beside_a_tpm_quote():
    """A flip that is taken changes no conclusion about Secure Boot, and hides nothing that was loaded."""
    honest = examined().boot

    def verify(data):
        boot = examined(event_log=data).boot
        assert boot.secure_boot == honest.secure_boot
        assert set(boot.applications) >= set(honest.applications)

    held_to(LOG, verify, in_the_log(), "log", exactly=("log-other-banks",))


def test_the_list_of_measurements_beside_a_tpm_quote():
    """Only the case of a digit's letter may change: the list is the same list."""
    listed = {"ima-letter-case": {at for at, byte in enumerate(LIST) if byte in b"abcdef"}}
    files = [entry.data for entry in tpm2.ima.parse_ascii(LIST)]

    def verify(data):
        examined(ima_list=data)
        assert [entry.data for entry in tpm2.ima.parse_ascii(data)] == files

    held_to(LIST, verify, listed, "ima")


def test_the_page_lists_nothing_that_no_test_looks_for():
    used = set(re.findall(r'"((?:chain|hcl|ek|log|ima)-[a-z-]+)"', Path(__file__).read_text()))
    assert set(UNSIGNED) == used
