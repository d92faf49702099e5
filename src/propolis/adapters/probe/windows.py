"""What is asked of Windows: CIM classes through PowerShell, tpmtool, the registry. No administrator is needed.

PowerShell takes most of a second to start, so the bound is longer here; all questions run side by side. Written after
Microsoft's documentation of the classes named; not run on Windows by this house yet.
"""

import os
import shutil

from propolis.adapters.probe.plan import Command, Plan, lines_with

SECONDS = 6.0
GUARD = r"root\Microsoft\Windows\DeviceGuard"
BITLOCKER = (
    "(New-Object -ComObject Shell.Application).NameSpace($env:SystemDrive).Self"
    ".ExtendedProperty('System.Volume.BitLockerProtection')"
)
_SHELL = ("powershell", "-NoProfile", "-NonInteractive", "-Command")


def _cim(key: str, kind: str, properties: str, *, space: str = r"root\cimv2") -> Command:
    """Return a question for properties of a CIM class as JSON; only those named are asked, none of them a serial number."""
    line = f"Get-CimInstance -Namespace {space} {kind} | Select-Object -First 1 {properties} | ConvertTo-Json -Compress"
    return Command((*_SHELL, line), key=f"call:cim {key}", seconds=SECONDS)


def free_mb() -> str:
    """Return the free room on the system's drive, in MB."""
    return str(shutil.disk_usage(os.environ.get("SYSTEMDRIVE", "C:") + "\\").free // 2**20)


PLAN = Plan(
    seconds=SECONDS + 0.5,
    calls={"free-mb": free_mb},
    commands=(
        _cim("computer", "Win32_ComputerSystem", "Manufacturer,Model,HypervisorPresent,TotalPhysicalMemory"),
        _cim("processor", "Win32_Processor", "Name,Manufacturer,NumberOfLogicalProcessors"),
        _cim("system", "Win32_OperatingSystem", "Caption,BuildNumber,Version"),
        _cim(
            "device-guard", "Win32_DeviceGuard",
            "VirtualizationBasedSecurityStatus,AvailableSecurityProperties,SecurityServicesRunning", space=GUARD,
        ),
        Command((*_SHELL, "(Get-CimInstance Win32_VideoController).Name"), key="call:cim video", seconds=SECONDS),
        Command((*_SHELL, BITLOCKER), key="call:bitlocker", seconds=SECONDS),
        Command(("tpmtool", "getdeviceinformation"), seconds=SECONDS, keep=lines_with("-TPM", "-Ready", "TPM", "Ready")),
        Command(
            ("reg", "query", r"HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State", "/v", "UEFISecureBootEnabled"),
            seconds=SECONDS,
        ),
    ),
)  # fmt: skip
