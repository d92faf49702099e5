"""macOS, by its own commands: sysctl, csrutil, fdesetup, system_profiler. No administrator is needed.

A Secure Enclave holds keys and runs no one's code; an app has no way to attest a Mac, so nothing here leads to evidence.
Not run on a Mac by this house yet: parsed from recordings made after the documentation.
"""

from propolis.decisions.capabilities.look import Look, number, pairs
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

SYSCTL = (
    "command:sysctl hw.optional.arm64 hw.memsize hw.ncpu machdep.cpu.brand_string kern.hv_vmm_present "
    "kern.hv_support kern.osproductversion kern.osrelease"
)
SIP = "command:csrutil status"
VAULT = "command:fdesetup status"
BRIDGE = "command:system_profiler SPiBridgeDataType"
DISPLAYS = "command:system_profiler SPDisplaysDataType"


def facts(look: Look) -> list[Fact]:
    """Return facts of macOS."""
    told = pairs(look.recording.text(SYSCTL) or "")
    return [
        *_system(look, told),
        _enclave(look, told),
        *_boot(look, told),
        *_virtual(look, told),
        _vault(look),
        _gpu(look),
    ]


def _plain(look: Look, name: str, value: str) -> Fact:
    return look.fact(name, State.PRESENT if value else State.UNKNOWN, value=value, how="sysctl")


def _system(look: Look, told: dict[str, str]) -> list[Fact]:
    size, release = number(told.get("hw.memsize")), told.get("kern.osproductversion", "")
    return [
        _plain(look, "system.name", f"macOS {release}" if release else ""),
        _plain(look, "system.kernel", f"Darwin {told['kern.osrelease']}" if "kern.osrelease" in told else ""),
        _plain(look, "processor.model", told.get("machdep.cpu.brand_string", "")),
        _plain(look, "processor.cores", told.get("hw.ncpu", "")),
        _plain(look, "memory.size", f"{size // 2**20} MB" if size is not None else ""),
        _plain(look, "storage.space", look.recording.text("call:free-mb") or ""),
    ]


def _enclave(look: Look, told: dict[str, str]) -> Fact:
    name, note = "tee.secure-enclave", "nothing: it keeps keys, and no app can prove to others that it does"
    if told.get("hw.optional.arm64") == "1":
        return look.fact(name, State.ENABLED, value="Apple silicon", how="sysctl hw.optional.arm64", more=note)
    bridge = look.recording.text(BRIDGE)
    for chip in ("T2", "T1"):
        if bridge is not None and f"Apple {chip}" in bridge:
            return look.fact(
                name, State.ENABLED, value=f"Apple {chip}", how="system_profiler SPiBridgeDataType", more=note
            )
    if not told:
        return look.fact(name, State.UNKNOWN, how="sysctl is not told")
    return look.nothing(name, SYSCTL, BRIDGE, how="neither Apple silicon nor T1, T2", more="a Mac of 2018 or newer")


def _boot(look: Look, told: dict[str, str]) -> list[Fact]:
    text = (look.recording.text(SIP) or "").lower()
    name, how = "firmware.lockdown", "csrutil status (System Integrity Protection)"
    if "status: enabled" in text:
        lockdown = look.fact(name, State.ENABLED, value="SIP", how=how)
    elif "status: disabled" in text:
        lockdown = look.fact(name, State.PRESENT, value="SIP is off", how=how, more="csrutil enable, from recovery")
    else:
        lockdown = look.fact(name, State.UNKNOWN, how=f"{how} is not told")
    secure = look.fact(
        "firmware.secure-boot", State.UNKNOWN, how="only root is told how this Mac boots", more="root: bputil -d"
    )  # fmt: skip
    if told.get("hw.optional.arm64") == "1":
        iommu = look.fact(
            "firmware.iommu", State.ENABLED, how="every Apple silicon has one per port (vendor's documentation)"
        )
        return [lockdown, secure, iommu]
    return [lockdown, secure]


def _virtual(look: Look, told: dict[str, str]) -> list[Fact]:
    inside, able = told.get("kern.hv_vmm_present"), told.get("kern.hv_support")
    state = {"1": State.PRESENT, "0": State.ABSENT}.get(inside or "", State.UNKNOWN)
    host = {"1": State.ENABLED, "0": State.ABSENT}.get(able or "", State.UNKNOWN)
    return [
        look.fact("virtual.guest", state, how="sysctl kern.hv_vmm_present"),
        look.fact("virtual.host", host, how="sysctl kern.hv_support"),
        look.fact("virtual.container", State.ABSENT, how="macOS has none"),
    ]


def _vault(look: Look) -> Fact:
    name, text = "storage.encryption", (look.recording.text(VAULT) or "").lower()
    if "filevault is on" in text:
        return look.fact(name, State.ENABLED, value="FileVault", how="fdesetup status")
    if "filevault is off" in text:
        return look.fact(name, State.ABSENT, how="fdesetup status", more="FileVault")
    return look.fact(name, State.UNKNOWN, how="fdesetup status is not told")


def _gpu(look: Look) -> Fact:
    name, seen = "accelerator.gpu", look.recording.at(DISPLAYS)
    models = [line.partition(":")[2].strip() for line in seen.text.split("\n")[:200] if "Chipset Model:" in line]
    if seen.outcome is Outcome.OK and models:
        return look.fact(name, State.PRESENT, value=", ".join(models[:6]), how="system_profiler SPDisplaysDataType")
    return look.nothing(name, DISPLAYS)
