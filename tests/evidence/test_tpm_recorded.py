"""TPM quotes and firmware logs that were recorded, with the verdict each must get; every bit of a signed quote counts."""

import base64
import json

import pytest
from test_recorded import SHARED

from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest, public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import eventlog, firmware, ima, quote, tpm2
from propolis.decisions.appraisal.judge import judge
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.errors import Rejected

pytestmark = pytest.mark.skipif(SHARED is None, reason="no recorded evidence beside the repository (shared/evidence)")
OWN = SHARED / "tpm-swtpm-own" if SHARED else None


def text(data):
    return base64.b64encode(data).decode()


def bundle(name, ak="ak", of="quote", **more):
    said = json.loads((OWN / f"{of}.json").read_text())
    pcrs = said["pcrs"].get("sha256", said["pcrs"])
    return json.dumps({
        "type": "tpm2-quote/1", "ak": text((OWN / f"{ak}.tpmt_public").read_bytes()),
        "attest": text((OWN / f"{name}.attest").read_bytes()), "signature": text((OWN / f"{name}.sig").read_bytes()),
        "pcrs": {str(n): pcrs[str(n)] for n in said.get("idx", (0, 4, 7)) if str(n) in pcrs}, **more,
    }).encode(), bytes.fromhex(said["nonce"])  # fmt: skip


def judged(data, nonce):
    return judge("tpm2-quote", data, endorsements=Endorsements(), nonce=nonce, roots=Roots(), now=1.7e9)


def signed_selection(name):
    said = attest.parse((OWN / f"{name}.attest").read_bytes())
    return [pcr for selection in said.selections for pcr in selection.pcrs]


def exact(name, ak="ak", **more):
    data, nonce = bundle(name, ak)
    found = json.loads(data)
    pcrs = json.loads((OWN / "quote.json").read_text())["pcrs"]["sha256"]
    found["pcrs"] = {str(n): pcrs[str(n)] for n in signed_selection(name)}
    return json.dumps({**found, **more}).encode(), nonce


@pytest.mark.parametrize(("name", "ak"), [("quote", "ak"), ("quote_rsa", "ak_rsa")])
def test_a_recorded_quote_verifies_and_proves_no_hardware(name, ak):
    data, nonce = exact(name, ak)
    found = judged(data, nonce)
    assert found.ok, found.text
    assert found.verified.fresh
    assert found.verified.facts["emulated"] is True
    assert found.appraised.attested.claims == ()


@pytest.mark.parametrize(
    ("name", "ak", "reason"),
    [
        ("gettime", "ak", "attest_type"), ("forged_by_unrestricted", "unrestricted_ak", "ak_attrs"),
        ("quote", "ak_rsa", "sig_alg"), ("quote_rsa", "ak", "sig_alg"),
    ],
)  # fmt: skip
def test_a_recorded_attestation_that_is_no_quote_of_an_attestation_key_is_refused(name, ak, reason):
    data, nonce = bundle(name, ak)
    assert judged(data, nonce).reason == reason


def test_another_nonce_is_refused():
    data, nonce = exact("quote")
    for other in (bytes(32), nonce[:-1], nonce + b"\0", nonce.hex().encode(), b""):
        assert judged(data, other).reason == "nonce"


def both(log, values):
    eventlog.agrees(log, values)
    firmware.read(log)


def test_a_log_agrees_with_its_quote_and_every_change_of_it_is_refused():
    said = json.loads((OWN / "evlog_quote.json").read_text())
    values = {int(n): bytes.fromhex(value) for n, value in said["pcrs"].items()}
    ak = public.parse((OWN / "evlog_ak.tpmt_public").read_bytes())
    asked = quote.Asked(binding=bytes.fromhex(said["nonce"]), pcrs=tuple(said["idx"]), home=False)
    quoted = quote.verify(
        ak, (OWN / "evlog_quote.attest").read_bytes(), (OWN / "evlog_quote.sig").read_bytes(), values, asked
    )
    log = eventlog.parse((OWN / "evlog_fedora37.bin").read_bytes())
    eventlog.agrees(log, quoted.values)
    assert firmware.read(log).secure_boot is False
    for name, reason in (("digest", "log_replay"), ("data", "log_content"), ("eventtype", "log_content")):
        changed = eventlog.parse((OWN / f"evlog_{name}_tampered.bin").read_bytes())
        with pytest.raises(Rejected, match=reason):
            both(changed, quoted.values)


REPLAYS = [
    "canonical_binary_bios_measurements", "ga_coreos_36_shielded_vm_no_secure_boot_eventlog", "ga_crypto_agile_eventlog",
    "ga_option_rom_eventlog", "ga_sb_cert_eventlog", "ga_ubuntu_2104_shielded_vm_no_secure_boot_eventlog",
    "gtt_arch-linux-workstation.bin", "gtt_cos-101-amd-sev.bin", "gtt_debian-10.bin", "gtt_eventlogwithsp800155.bin",
    "gtt_gdc-host.bin", "gtt_rhel8-uefi.bin", "gtt_ubuntu-2104-no-secure-boot.bin", "gtt_ubuntu-2404-amd-sevsnp.bin",
]  # fmt: skip
ON = {"canonical_binary_bios_measurements", "ga_option_rom_eventlog", "ga_sb_cert_eventlog", "gtt_cos-101-amd-sev.bin",
      "gtt_debian-10.bin", "gtt_eventlogwithsp800155.bin", "gtt_rhel8-uefi.bin"}  # fmt: skip


@pytest.mark.parametrize("name", REPLAYS)
def test_a_real_log_is_read_replayed_and_says_whether_secure_boot_was_on(name):
    log = eventlog.parse((SHARED / "eventlog" / name).read_bytes())
    for bank in log.banks:
        assert len(eventlog.replay(log, bank)) >= 4
    bank = Alg.SHA256 if Alg.SHA256 in log.banks else log.banks[0]
    assert firmware.read(log, bank).secure_boot is (name in ON)


def test_a_log_without_an_event_is_none():
    with pytest.raises(Rejected, match="log_empty"):
        eventlog.parse((SHARED / "eventlog" / "ga_short_no_action_eventlog").read_bytes())


@pytest.mark.parametrize("name", ["sml-ima-ng-sha1", "sml-ima-sha1"])
def test_a_stray_byte_after_a_list_of_measurements_is_refused_and_without_it_the_list_is_read(name):
    data = base64.b64decode((SHARED / "ima" / f"tss_{name}.b64").read_bytes())
    with pytest.raises(Rejected, match="ima_truncated"):
        ima.parse_binary(data)
    assert ima.parse_binary(data.rstrip(b"\n"))[0].path == "boot_aggregate"


def test_violations_are_seen():
    for name in ("sml-ima-sha1", "sml-ima-sig-sha256"):
        data = base64.b64decode((SHARED / "ima" / f"tss_{name}-invalidated.b64").read_bytes())
        assert any(entry.violation for entry in ima.parse_binary(data))


def test_a_real_list_is_read_line_by_line_and_another_is_refused():
    entries = ima.parse_ascii((SHARED / "tpm" / "rk_ascii_runtime_measurements").read_bytes())
    assert len(entries) == 826
    with pytest.raises(Rejected):
        ima.parse_ascii((SHARED / "tpm" / "rk_invalid_ima_log.txt").read_bytes())


def test_every_single_bit_of_a_recorded_quote_counts():
    data, nonce = exact("quote")
    found = json.loads(data)
    attested = base64.b64decode(found["attest"])
    for place in range(8 * len(attested)):
        changed = bytearray(attested)
        changed[place // 8] ^= 1 << place % 8
        assert not judged(json.dumps({**found, "attest": text(bytes(changed))}).encode(), nonce).ok


def test_registers_of_two_banks_or_none_are_refused():
    data, nonce = exact("quote")
    found = json.loads(data)
    for pcrs, reason in (
        ({}, "pcr_missing"),
        ({"0": "00"}, "pcr_missing"),
        ({"x": "00"}, "envelope_field"),
        ([], "envelope_json"),
    ):
        assert judged(json.dumps({**found, "pcrs": pcrs}).encode(), nonce).reason == reason
    short = {**found["pcrs"], "0": "00"}
    assert judged(json.dumps({**found, "pcrs": short}).encode(), nonce).reason == "pcr_len"
    assert tpm2.TECHNOLOGY == "tpm"
