"""Firmware and boot: Secure Boot, lockdown, IMA, and who may reach memory by DMA."""

import re

from propolis.decisions.capabilities.look import Look, best, number
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

EFIVARS = "/sys/firmware/efi/efivars"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SECURE_BOOT = f"file:{EFIVARS}/SecureBoot-{GLOBAL}"
SETUP_MODE = f"file:{EFIVARS}/SetupMode-{GLOBAL}"
LOCKDOWN = "file:/sys/kernel/security/lockdown"
IMA = "/sys/kernel/security/ima"
DMAR = "file:/sys/firmware/acpi/tables/DMAR"
HSI = (
    "command:busctl --system --auto-start=no get-property org.freedesktop.fwupd / org.freedesktop.fwupd HostSecurityId"
)
_HSI = re.compile(r"HSI:([0-9])[0-9A-Za-z!]*")
_DMAR_FLAGS, _OPT_IN = 37, 4  # byte of the ACPI table, and its bit: the platform asks for DMA protection before boot


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_uefi(look), _secure_boot(look), _lockdown(look), _ima(look), _iommu(look), _dma(look), _hsi(look)]


def variable(look: Look, key: str) -> int | None:
    """Return the value of a one-byte EFI variable: four bytes of attributes, then the byte."""
    text = look.recording.text(key) or ""
    return int(text[8:10], 16) if re.fullmatch("[0-9a-f]{10}", text) else None


def _uefi(look: Look) -> Fact:
    if look.recording.at("folder:/sys/firmware/efi").outcome is Outcome.OK:
        return look.fact("firmware.uefi", State.ENABLED, how="/sys/firmware/efi")
    return look.nothing("firmware.uefi", "folder:/sys/firmware/efi", devices=True, how="no /sys/firmware/efi")


def _secure_boot(look: Look) -> Fact:
    name, on, setup = "firmware.secure-boot", variable(look, SECURE_BOOT), variable(look, SETUP_MODE)
    more = "Secure Boot in the firmware's settings"
    if on is None:
        return look.nothing(name, SECURE_BOOT, devices=True, how="no such EFI variable", more=more)
    if on == 1 and setup == 0:
        note = "its owner may enrol keys: counts against nobody with root until PCR 7 is proven"
        return look.fact(name, State.ENABLED, how="EFI variables SecureBoot, SetupMode", more=note)
    if on == 1 and setup is None:
        return look.fact(name, State.PRESENT, how="EFI variable SecureBoot; SetupMode is not told", more=more)
    return look.fact(name, State.PRESENT, value="off", how="EFI variables SecureBoot, SetupMode", more=more)


def _lockdown(look: Look) -> Fact:
    name, text = "firmware.lockdown", look.recording.text(LOCKDOWN)
    more = "the kernel's option lockdown=confidentiality"
    if text is None:
        return look.nothing(
            name, LOCKDOWN, devices=True, how="the kernel has no lockdown, or securityfs is not mounted", more=more
        )
    match = re.search(r"\[(none|integrity|confidentiality)\]", text)
    if match is None:
        return look.fact(name, State.UNKNOWN, how="lockdown says something else", more=more)
    mode = match[1]
    state = State.PRESENT if mode == "none" else State.ENABLED
    return look.fact(name, state, value=mode, how="securityfs lockdown", more="" if mode == "confidentiality" else more)


def _ima(look: Look) -> Fact:
    name = "firmware.ima"
    count = number(look.recording.text(f"file:{IMA}/runtime_measurements_count"))
    more = "root would count its measurements; ima_policy=tcb measures what runs"
    if count is not None:
        state = State.ENABLED if count > 1 else State.PRESENT  # the default policy measures the boot aggregate only
        return look.fact(
            name, state, value=f"{count} measurements", how="securityfs ima", more=more if count <= 1 else ""
        )
    if look.recording.at(f"folder:{IMA}").outcome is Outcome.OK:
        return look.fact(name, State.PRESENT, how="securityfs ima", more=more)
    return look.nothing(name, f"folder:{IMA}", f"file:{IMA}/runtime_measurements_count", devices=True, more=more)


def _iommu(look: Look) -> Fact:
    name, listed = "firmware.iommu", [each for each in look.names("/sys/class/iommu") if each]
    more = "VT-d or AMD-Vi in the firmware's settings; intel_iommu=on or iommu=force on the kernel's line"
    if not listed:
        return look.nothing(name, "folder:/sys/class/iommu", devices=True, how="/sys/class/iommu is empty", more=more)
    line = (look.recording.text("call:kernel-line") or "").split()
    if "iommu=pt" in line or "iommu.passthrough=1" in line:
        value = "passes the host's devices through"
        return look.fact(name, State.ENABLED, value=value, how="/sys/class/iommu, kernel's line", more="no iommu=pt")
    return look.fact(name, State.ENABLED, how="/sys/class/iommu")


def _dma(look: Look) -> Fact:
    name = "firmware.dma-protection"
    ports = [
        seen.text.strip()
        for key, seen in look.recording.begins("file:/sys/bus/thunderbolt/devices/")
        if key.endswith("/iommu_dma_protection") and seen.outcome is Outcome.OK
    ]
    table = look.recording.text(DMAR) or ""
    opted = len(table) > 2 * _DMAR_FLAGS + 1 and int(table[2 * _DMAR_FLAGS :][:2], 16) & _OPT_IN if _hex(table) else 0
    states = [State.ENABLED if text == "1" else State.PRESENT for text in ports] + ([State.ENABLED] if opted else [])
    more = "kernel DMA protection in the firmware's settings"
    if ports and "1" not in ports:
        return look.fact(name, State.PRESENT, value="off", how="thunderbolt iommu_dma_protection", more=more)
    if states:
        return look.fact(name, best(states), how="thunderbolt iommu_dma_protection" if ports else "DMAR table: opt-in")
    keys = [key for key, _ in look.recording.begins("file:/sys/bus/thunderbolt/devices/")]
    return look.nothing(
        name, "folder:/sys/bus/thunderbolt/devices", *keys, DMAR, devices=True, how="no ports, no DMAR opt-in",
        more="root would read the DMAR table",
    )  # fmt: skip


def _hex(text: str) -> bool:
    return bool(re.fullmatch("(?:[0-9a-f]{2})+", text))


def _hsi(look: Look) -> Fact:
    match = _HSI.search(look.recording.text(HSI) or "")
    if match:
        return look.fact("firmware.hsi", State.ENABLED, value=match[0], how="fwupd, a rating of its own")
    return look.fact("firmware.hsi", State.UNKNOWN, how="fwupd is not running, or not installed", more="fwupd")
