"""Windows, by the documented commands: CIM classes as JSON, tpmtool, the registry. No administrator is needed.

Classes and values: Win32_DeviceGuard (VirtualizationBasedSecurityStatus 2 = running; AvailableSecurityProperties 1
hypervisor, 2 Secure Boot, 3 DMA protection), UEFISecureBootEnabled, System.Volume.BitLockerProtection (1, 3, 5 = on).
Not run on Windows by this house yet: parsed from recordings made after the documentation.
"""

from typing import Any

import msgspec

from propolis.decisions.capabilities.look import Look, number, pairs
from propolis.decisions.capabilities.tpm import identity
from propolis.decisions.weaknesses import Weaknesses, version
from propolis.terms.finding import Fact, State

COMPUTER = "call:cim computer"  # Manufacturer, Model, HypervisorPresent, TotalPhysicalMemory
PROCESSOR = "call:cim processor"  # Name, Manufacturer, NumberOfLogicalProcessors
OS = "call:cim system"  # Caption, BuildNumber, Version
VIDEO = "call:cim video"  # [Name, ...]
GUARD = "call:cim device-guard"
BITLOCKER = "call:bitlocker"
TPMTOOL = "command:tpmtool getdeviceinformation"
SECURE_BOOT = r"command:reg query HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State /v UEFISecureBootEnabled"
ENCLAVE_BUILD = 26_100
VM_MODELS = (
    "Virtual Machine",
    "VMware",
    "VirtualBox",
    "KVM",
    "QEMU",
    "HVM domU",
    "Parallels",
    "BHYVE",
    "Amazon EC2",
    "Google Compute",
)
_ON = ("1", "3", "5")


def facts(look: Look, known: Weaknesses) -> list[Fact]:
    """Return facts of Windows."""
    guest = _guest(look)
    return [
        *_system(look), guest, *_tpm(look, known, guest.state), _secure_boot(look), *_guard(look), _bitlocker(look), _gpu(look),
    ]  # fmt: skip


def record(look: Look, key: str) -> dict[str, Any]:
    """Return a CIM object; empty when it was not told, or is none."""
    try:
        found = msgspec.json.decode(look.recording.text(key) or "{}")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else {}


def _word(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return str(value) if isinstance(value, str | int) else ""


def _numbers(found: dict[str, Any], name: str) -> set[int]:
    value = found.get(name)
    listed = value if isinstance(value, list) else [value]
    return {each for each in listed if isinstance(each, int) and not isinstance(each, bool)}


def _plain(look: Look, name: str, value: str, how: str) -> Fact:
    return look.fact(name, State.PRESENT if value else State.UNKNOWN, value=value, how=how)


def _system(look: Look) -> list[Fact]:
    system, cpu, computer = record(look, OS), record(look, PROCESSOR), record(look, COMPUTER)
    size = number(_word(computer, "TotalPhysicalMemory"))
    return [
        _plain(look, "system.name", _word(system, "Caption"), "Win32_OperatingSystem"),
        _plain(look, "system.kernel", _word(system, "Version"), "Win32_OperatingSystem"),
        _plain(look, "processor.model", _word(cpu, "Name"), "Win32_Processor"),
        _plain(look, "processor.cores", _word(cpu, "NumberOfLogicalProcessors"), "Win32_Processor"),
        _plain(look, "memory.size", f"{size // 2**20} MB" if size is not None else "", "Win32_ComputerSystem"),
        _plain(
            look, "storage.space", look.recording.text("call:free-mb") or "", "free space of the system's drive, MB"
        ),
    ]


def _guest(look: Look) -> Fact:
    """Return whether this is a virtual machine. A hypervisor alone says little: with VBS Windows itself runs on one."""
    found = record(look, COMPUTER)
    model = f"{_word(found, 'Manufacturer')} {_word(found, 'Model')}".strip()
    name, how = "virtual.guest", "Win32_ComputerSystem"
    if any(each.lower() in model.lower() for each in VM_MODELS):
        return look.fact(name, State.PRESENT, value=model, how=how)
    if found.get("HypervisorPresent") is False or (model and 2 in _status(look)):
        return look.fact(name, State.ABSENT, how=f"{how}: {model or 'no model'}; a hypervisor can hide")
    return look.fact(name, State.UNKNOWN, how=f"{how}: a hypervisor, and no VBS that would explain it")


def _status(look: Look) -> set[int]:
    return _numbers(record(look, GUARD), "VirtualizationBasedSecurityStatus")


def _tpm(look: Look, known: Weaknesses, guest: State) -> list[Fact]:
    told = pairs(look.command("tpmtool getdeviceinformation") or "")
    present, more = told.get("TPM Present", "").lower(), "a TPM in the firmware's settings (PTT, fTPM)"
    if present == "true":
        version_2 = told.get("TPM Version", "").startswith("2")
        ready = version_2 and told.get("Ready For Attestation", "").lower() == "true"
        state = State.PRESENT if not version_2 else State.USABLE if ready else State.ENABLED
        chip = look.fact("tpm.chip", state, value=told.get("TPM Version", ""), how="tpmtool getdeviceinformation")
    elif present == "false":
        chip = look.nothing("tpm.chip", TPMTOOL, more=more)
    else:
        chip = look.fact("tpm.chip", State.UNKNOWN, how="tpmtool was not asked, or said something else", more=more)
    maker = told.get("TPM Manufacturer ID", "").strip("\0 ").upper()[:4]
    firmware = version(told.get("TPM Manufacturer Version", ""))
    vendor = told.get("TPM Manufacturer Full Name", "")
    return [chip, *identity(look, chip, maker, vendor, firmware, guest, known, None)]


def _secure_boot(look: Look) -> Fact:
    text = look.recording.text(SECURE_BOOT) or ""
    name, value = "firmware.secure-boot", text.rpartition("REG_DWORD")[2].strip() if "REG_DWORD" in text else ""
    if value in ("0x1", "0x0"):
        state = State.ENABLED if value == "0x1" else State.PRESENT
        return look.fact(name, state, value="" if value == "0x1" else "off", how="registry: UEFISecureBootEnabled")
    return look.fact(
        name, State.UNKNOWN, how="registry: UEFISecureBootEnabled is not told; a BIOS without UEFI has none"
    )


def _guard(look: Look) -> list[Fact]:
    found, how = record(look, GUARD), "Win32_DeviceGuard"
    status, offered = _status(look), _numbers(found, "AvailableSecurityProperties")
    running = _numbers(found, "SecurityServicesRunning")
    more = "core isolation in Windows Security"
    if status & {0, 1, 2}:
        on = 2 in status
        names = [name for key, name in ((1, "credential guard"), (2, "HVCI"), (3, "secure launch")) if key in running]
        vbs = look.fact(
            "tee.vbs", State.ENABLED if on else State.PRESENT, value=", ".join(names), how=how, more="" if on else more
        )  # fmt: skip
    else:
        vbs = look.fact("tee.vbs", State.UNKNOWN, how=f"{how} is not told", more="an administrator could ask")
    dma = _offer(
        look, "firmware.dma-protection", found, there=3 in offered, how=f"{how}: AvailableSecurityProperties 3"
    )
    iommu = _offer(look, "firmware.iommu", found, there=3 in offered, how=f"{how}: AvailableSecurityProperties 3")
    return [vbs, _enclaves(look, on=2 in status), dma, iommu]


def _offer(look: Look, name: str, found: dict[str, Any], *, there: bool, how: str) -> Fact:
    if there:
        return look.fact(name, State.ENABLED, how=how)
    state = State.ABSENT if "AvailableSecurityProperties" in found else State.UNKNOWN
    return look.fact(name, state, how=how, more="VT-d or AMD-Vi, and kernel DMA protection, in the firmware's settings")


def _enclaves(look: Look, *, on: bool) -> Fact:
    build = number(_word(record(look, OS), "BuildNumber"))
    name, more = "tee.vbs-enclave", f"Windows 11 of build {ENCLAVE_BUILD}.2314 or newer, with VBS running"
    if build is None:
        return look.fact(name, State.UNKNOWN, how="Win32_OperatingSystem is not told", more=more)
    if build < ENCLAVE_BUILD:
        return look.fact(name, State.ABSENT, how=f"build {build}", more=more)
    return look.fact(
        name,
        State.PRESENT if on else State.UNKNOWN,
        how=f"build {build}, VBS {'on' if on else 'not shown on'}",
        more=more,
    )


def _bitlocker(look: Look) -> Fact:
    name, text = "storage.encryption", look.recording.text(BITLOCKER)
    if text in _ON:
        return look.fact(name, State.ENABLED, value="BitLocker", how="System.Volume.BitLockerProtection")
    if text in ("2", "0"):
        return look.fact(
            name, State.ABSENT, how="System.Volume.BitLockerProtection", more="BitLocker, or device encryption"
        )
    return look.fact(
        name, State.UNKNOWN, how="System.Volume.BitLockerProtection is not told", more="an administrator could ask"
    )


def _gpu(look: Look) -> Fact:
    text = look.recording.text(VIDEO)
    names = [line.strip() for line in (text or "").split("\n") if line.strip()][:6]
    if names:
        return look.fact("accelerator.gpu", State.PRESENT, value=", ".join(names), how="Win32_VideoController")
    return look.nothing("accelerator.gpu", VIDEO)
