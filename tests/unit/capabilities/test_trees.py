"""What is found on some sixty machines, forged ones among them: docs/specs/capabilities.md, steps 2 to 4."""

import pytest
from trees import FORGED, TREES, recorded

from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.reading import read
from propolis.terms.finding import STEPS, State
from propolis.terms.recording import Recording, from_json, to_json

U, A, P, E, OK = State.UNKNOWN, State.ABSENT, State.PRESENT, State.ENABLED, State.USABLE

EXPECTED: dict[str, dict[str, State | str | tuple[State, str]]] = {
    "laptop-intel-ptt": {
        "tpm.chip": OK, "tpm.kind": "firmware", "tpm.known-bad": A, "firmware.secure-boot": E, "firmware.lockdown": (E, "integrity"),
        "firmware.iommu": E, "firmware.dma-protection": E, "storage.encryption": (E, "LUKS"), "memory.tme": P, "tee.tdx": A, "tee.sev": A,
        "tee.sgx": U, "virtual.guest": A, "virtual.host": OK, "isolation.landlock": (OK, "ABI 6"), "isolation.user-namespaces": OK,
        "accelerator.gpu": (P, "Intel"), "accelerator.nvidia-cc": A, "firmware.ima": A, "memory.tsme": A, "tpm.pluton": U,
    },
    "laptop-intel-ptt-root": {
        "memory.tme": E, "firmware.ima": (E, "826"), "firmware.dma-protection": E, "tee.sgx": A, "firmware.lockdown": "confidentiality",
        "isolation.user-namespaces": E,
    },
    "laptop-intel-skylake-sgx": {"tee.sgx": P, "tee.sgx-attestation": A, "tpm.known-bad": (P, "TPM-FAIL (CVE-2019-11090)")},
    "laptop-infineon-roca": {"tpm.kind": "a chip of its own", "tpm.known-bad": (P, "ROCA"), "tpm.firmware": "5.51.7.0"},
    "laptop-infineon-mended": {"tpm.known-bad": A},
    "laptop-st-tpm-fail": {"tpm.known-bad": (P, "TPM-FAIL (CVE-2019-16863)"), "tpm.maker": "STMicroelectronics"},
    "laptop-amd-zen3": {
        "memory.tsme": E, "memory.sme": P, "tee.sev": P, "tee.sev-es": P, "tee.sev-snp": U, "tpm.known-bad": A, "tpm.known-physical": (P, "faulTPM"),
        "tee.amd-tee": E, "tee.op-tee": A, "tpm.kind": "firmware",
    },
    "laptop-amd-pluton": {"tpm.pluton": E, "tpm.kind": "Pluton", "tpm.known-bad": A},
    "desktop-nvidia-tpm-denied": {
        "tpm.chip": E, "tpm.maker": U, "tpm.known-bad": U, "firmware.secure-boot": (P, "off"), "accelerator.gpu": (OK, "RTX 4090"),
        "accelerator.nvidia-cc": U, "virtual.host": E, "storage.encryption": A,
    },
    "desktop-core2-bios": {
        "tpm.chip": A, "tpm.maker": A, "firmware.uefi": A, "firmware.secure-boot": A, "isolation.landlock": A, "isolation.cgroups": A,
        "isolation.memfd-secret": A, "virtual.guest": A,
    },
    "desktop-tpm-1.2": {"tpm.chip": (P, "1.2"), "tpm.maker": U},
    "laptop-swap-in-clear": {"storage.swap": (E, "in clear"), "storage.encryption": A},
    "board-raspberry-pi-4": {"virtual.guest": A, "tee.op-tee": A, "tpm.chip": A, "tee.sgx": A, "processor.model": "Raspberry Pi 4"},
    "board-raspberry-pi-3-op-tee": {"tee.op-tee": (OK, "isolates nothing"), "tee.amd-tee": A},
    "board-imx8-op-tee": {"tee.op-tee": (OK, ""), "tee.cca-guest": A},
    "board-op-tee-denied": {"tee.op-tee": P},
    "board-qemu-op-tee": {"tee.op-tee": (OK, "isolates nothing"), "virtual.guest": P},
    "guest-arm-cca": {"tee.cca-guest": E, "virtual.guest": P, "tee.sev": A},
    "server-epyc-snp-host": {"tee.sev-snp": OK, "tee.sev": OK, "memory.sme": E, "tee.snp-guest": A, "tee.sgx": A},
    "server-epyc-snp-user": {"tee.sev-snp": E, "memory.sme": P},
    "server-epyc-sev-off": {"tee.sev-snp": P, "tee.sev": P, "memory.sme": P},
    "server-xeon-tdx-host": {"tee.tdx": E, "tee.sgx": OK, "tee.sgx-attestation": OK, "tee.tdx-guest": A, "tee.sev-snp": A},
    "server-xeon-tdx-without-its-flag": {"tee.tdx": E, "memory.tme": P},
    "guest-arm-by-device-tree": {"virtual.guest": (P, "xen")},
    "server-xeon-sgx-user": {"tee.sgx": OK, "tee.sgx-attestation": E, "tee.tdx": A},
    "guest-azure-snp": {"tee.snp-guest": E, "tpm.kind": "virtual", "tpm.pluton": U, "virtual.guest": (P, "microsoft")},
    "guest-gcp-snp": {"tee.snp-guest": OK, "tee.report": OK, "tpm.kind": "virtual"},
    "guest-gcp-tdx": {"tee.tdx-guest": E, "tee.snp-guest": A, "tpm.maker": "Google"},
    "guest-aws-snp": {"tee.snp-guest": OK, "tpm.maker": "Amazon"},
    "guest-aws-nitro-enclave": {"tee.nitro-enclave": OK, "virtual.guest": P},
    "guest-h100-cc": {"accelerator.nvidia-cc": E, "accelerator.gpu": (OK, "H100"), "tee.snp-guest": OK},
    "guest-kvm-swtpm": {"tpm.emulated": P,
        "tpm.kind": "emulated: no hardware root", "tpm.known-bad": A},
    "guest-vmware": {"tpm.kind": "virtual", "virtual.guest": (P, "vmware")},
    "guest-kvm-dressed-as-hyper-v": {"virtual.guest": P},
    "wsl-2": {"virtual.guest": (P, "microsoft"), "firmware.secure-boot": A, "virtual.container": A},
    "container-docker": {
        "virtual.container": (P, "docker"), "tpm.chip": U, "tpm.maker": U, "firmware.secure-boot": U, "firmware.uefi": U, "tee.nitro-enclave": U,
        "storage.encryption": U, "accelerator.gpu": U,
    },
    "container-podman-rootless": {"virtual.container": P, "isolation.user-namespaces": (P, "refused"), "tee.nitro-enclave": U, "tee.snp-guest": A},
    "container-unmarked": {"virtual.container": P, "tpm.chip": U, "tee.nitro-enclave": U},
    "windows-11-vbs": {
        "tee.vbs": (E, "HVCI"), "tee.vbs-enclave": P, "tpm.chip": OK, "tpm.kind": "firmware", "firmware.secure-boot": E, "virtual.guest": A,
        "storage.encryption": (E, "BitLocker"), "firmware.dma-protection": E, "tpm.known-bad": A, "isolation.landlock": A,
    },
    "windows-11-amd-vbs-off": {
        "tee.vbs": P, "tee.vbs-enclave": U, "storage.encryption": A, "firmware.dma-protection": A, "tpm.known-bad": A, "tpm.known-physical": U, "virtual.guest": A,
    },
    "windows-10-old": {"tpm.chip": (P, "1.2"), "tee.vbs": U, "tee.vbs-enclave": A, "firmware.secure-boot": U, "tpm.known-bad": (P, "ROCA")},
    "windows-hyper-v-guest": {"virtual.guest": P, "tpm.kind": "virtual", "tpm.pluton": U},
    "windows-late": dict.fromkeys(("tee.vbs", "tpm.chip", "firmware.secure-boot", "storage.encryption", "virtual.guest", "tpm.maker"), U),
    "mac-m2": {"tee.secure-enclave": (E, "Apple silicon"), "storage.encryption": (E, "FileVault"), "virtual.guest": A, "tpm.chip": U},
    "mac-intel-t2": {"tee.secure-enclave": (E, "T2"), "firmware.secure-boot": U, "firmware.lockdown": (E, "SIP")},
    "mac-intel-2015": {"tee.secure-enclave": A, "storage.encryption": A},
    "freebsd": dict.fromkeys(("tpm.chip", "tee.sgx", "virtual.guest", "processor.model"), U),
    "firecracker-root": {"virtual.guest": (P, "kvm"), "tpm.chip": U, "tee.sev": A, "isolation.landlock": (OK, "ABI 7"), "virtual.host": OK},
    "firecracker-user": {"virtual.guest": (P, "kvm"), "tee.sev": U, "memory.sme": U, "isolation.user-namespaces": OK},
    "firecracker-namespace": {"virtual.container": P, "tpm.chip": U},
}  # fmt: skip
CONTRADICTED_WITHOUT_A_LIE = {"mac-guest"}


def all_trees() -> dict[str, Recording]:
    return {**TREES, **recorded()}


@pytest.mark.parametrize("name", sorted(all_trees()))
def test_what_is_found(name, weaknesses):
    found = read(all_trees()[name], weaknesses)
    assert [fact.name for fact in found.facts] == list(CATALOGUE)
    for fact, wanted in EXPECTED.get(name, {}).items():
        told = found.fact(fact)
        state, value = wanted if isinstance(wanted, tuple) else (None, wanted) if type(wanted) is str else (wanted, "")
        assert state is None or told.state is state, told
        assert value in told.value, told
    if name not in CONTRADICTED_WITHOUT_A_LIE:
        assert found.contradictions == (), name


def test_all_that_claims_nothing_is_what_an_all_denied_laptop_claims(weaknesses):
    found = read(TREES["laptop-all-denied"], weaknesses)
    claimed = {fact.name for fact in found.facts if fact.found}
    assert claimed == {"processor.model", "processor.cores", "processor.microcode", "memory.tme", "virtual.host"}
    assert {fact.name for fact in found.facts if fact.state is A} <= {
        "memory.sme", "memory.tsme", "tee.sev", "tee.sev-es", "tee.sev-snp", "tee.sev-guest", "tee.snp-guest", "tee.tdx", "tee.cca-guest",
        "tee.amd-tee", "tee.vbs", "tee.vbs-enclave",
    }  # fmt: skip  # what another maker's processor, or another system, cannot have


@pytest.mark.parametrize("name", sorted(FORGED))
def test_a_contradiction_is_said_and_believed_no_further(name, weaknesses):
    recording, says = FORGED[name]
    found = read(recording, weaknesses)
    said = [each for each in found.contradictions if says in each.says]
    assert said, found.contradictions
    for contradiction in said:
        for fact in contradiction.facts:
            assert found.fact(fact).state not in STEPS, (fact, found.fact(fact))


def test_there_are_enough_machines_and_each_is_expected_to_be_something():
    assert len(all_trees()) >= 40
    assert len(FORGED) >= 30
    assert set(all_trees()) - set(EXPECTED) <= {"mac-guest", "laptop-all-denied"}


@pytest.mark.parametrize("name", sorted(all_trees()))
def test_a_recording_survives_json(name):
    recording = all_trees()[name]
    assert from_json(to_json(recording)) == recording


def test_what_root_would_add_is_said(weaknesses):
    facts = read(TREES["laptop-intel-ptt"], weaknesses)
    assert "root" in facts.fact("memory.tme").more
    assert "group" in read(TREES["desktop-nvidia-tpm-denied"], weaknesses).fact("tpm.chip").more
