"""Machines, as recordings: what the declared list of questions would have brought back on each.

How they were made. `recorded/*.json` were recorded by this probe on a virtual machine of Firecracker's (as root, as a user, and in
a process namespace), with the kernel's release shortened. All others are built here, by hand: each begins as a machine that has
nothing (every question of the plan answered with "missing") and gets what vendors' documentation, kernel documentation and
facts of public reports say such a machine shows. The forged ones are such machines with a lie put in. No machine of a person
is among them, and no serial number.
"""

import json
from pathlib import Path

from propolis.adapters.probe import linux as linux_plan
from propolis.adapters.probe import macos as mac_plan
from propolis.adapters.probe import windows as windows_plan
from propolis.adapters.probe.plan import Plan
from propolis.terms.recording import Outcome, Recording, Seen, from_json

MISSING, DENIED = Seen(outcome=Outcome.MISSING), Seen(outcome=Outcome.DENIED)
LATE, FAILED = Seen(outcome=Outcome.LATE), Seen(outcome=Outcome.FAILED, text="exit 1")
WHEN = "2026-11-24T09:00:00Z"
EFI = "file:/sys/firmware/efi/efivars/"
GUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SECURE, SETUP = f"{EFI}SecureBoot-{GUID}", f"{EFI}SetupMode-{GUID}"
INTEL = "fpu vmx aes avx2 sha_ni"
AMD = "fpu svm aes avx2 sha_ni"


def keys(plan: Plan) -> list[str]:
    """Return every key a plan asks for by name."""
    return [
        *(f"file:{path}" for path in (*plan.texts, *plan.kept, *plan.binaries)),
        *(f"folder:{path}" for path in (*plan.folders, *(each.folder for each in plan.leaves))),
        *(f"open:{path}" for path in plan.devices),
        *(f"call:{name}" for name in plan.calls),
        *(command.name for command in plan.commands),
    ]


def made(plan: Plan, system: str, machine: str, seen: dict[str, Seen | str], *, root: bool = False) -> Recording:
    bare: dict[str, Seen] = dict.fromkeys(keys(plan), MISSING)
    bare |= {key: Seen(text=value) if isinstance(value, str) else value for key, value in seen.items()}
    return Recording(system=system, machine=machine, taken=WHEN, root=root, seen=bare)


def cpu(vendor: str, model: str, flags: str, family: int = 6, number: int = 151, count: int = 8) -> str:
    block = (
        f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {number}\nmodel name\t: {model}\n"
        f"microcode\t: 0x430\nflags\t\t: {flags}\n"
    )
    return "\n\n".join(f"processor\t: {n}\n{block}" for n in range(min(count, 2)))


def intel(model="13th Gen Intel(R) Core(TM) i7-1365U", flags="", **more) -> dict:
    return {"file:/proc/cpuinfo": cpu("GenuineIntel", model, f"{INTEL} {flags}", **more)}


def amd(model="AMD Ryzen 7 5800U with Radeon Graphics", flags="", family=25, number=80, **more) -> dict:
    return {"file:/proc/cpuinfo": cpu("AuthenticAMD", model, f"{AMD} {flags}", family, number, **more)}


def tpm(maker: str, version: str = "1.0.0.0", vendor: str = "", *, usable: bool = True) -> dict:
    """A TPM 2.0 as the kernel and TPM2_GetCapability show it."""
    parts = [int(part) for part in version.split(".")]
    lines = {0x100: 0x322E3000, 0x105: int.from_bytes(maker.encode().ljust(4, b"\0"), "big")}
    lines |= {0x106 + n: int.from_bytes(vendor.encode()[4 * n : 4 * n + 4].ljust(4, b"\0"), "big") for n in range(4)}
    lines |= {0x10B: parts[0] << 16 | parts[1], 0x10C: parts[2] << 16 | parts[3]}
    told = "\n".join(f"{key:#x} {value:#x}" for key, value in lines.items())
    return {
        "folder:/sys/class/tpm": "tpm0",
        "file:/sys/class/tpm/tpm0/tpm_version_major": "2",
        "open:/dev/tpmrm0": "" if usable else DENIED,
        "call:tpm-properties": told if usable else DENIED,
    }


def boot(*, secure: int = 1, setup: int = 0, lockdown: str = "none [integrity] confidentiality") -> dict:
    return {
        "folder:/sys/firmware/efi": "",
        SECURE: f"06000000{secure:02x}",
        SETUP: f"06000000{setup:02x}",
        "file:/sys/kernel/security/lockdown": lockdown,
    }


def pci(*cards: tuple[str, str]) -> dict:
    found: dict = {"folder:/sys/bus/pci/devices": "\n".join(f"0000:0{n}:00.0" for n in range(len(cards)))}
    for n, (kind, maker) in enumerate(cards):
        found |= {
            f"file:/sys/bus/pci/devices/0000:0{n}:00.0/class": kind,
            f"file:/sys/bus/pci/devices/0000:0{n}:00.0/vendor": maker,
        }
    return found


def linux(
    *parts: dict, machine: str = "x86_64", release: str = "6.12.9", root: bool = False, dev: str = "kvm"
) -> Recording:
    """A Linux of today that lacks everything but a kernel; CPUID and registers are closed to users."""
    closed = {key: DENIED for key in keys(linux_plan.PLAN) if key.startswith(("call:cpuid", "call:msr")) and not root}
    base: dict = {
        **closed,
        "file:/proc/sys/kernel/osrelease": release,
        "file:/etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"',
        "file:/sys/devices/system/cpu/online": "0-7",
        "file:/proc/meminfo": "MemTotal:       16303428 kB",
        "file:/proc/self/status": "NoNewPrivs:\t0\nSeccomp:\t0",
        "file:/proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
        "file:/proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow",
        "file:/proc/sys/user/max_user_namespaces": "63000",
        "file:/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids",
        "folder:/dev": dev.replace(" ", "\n"),
        "folder:/sys/class/iommu": "",
        "folder:/sys/bus/pci/devices": "",
        "folder:/sys/bus/thunderbolt/devices": "",
        "call:landlock-abi": "6",
        "call:memfd-secret": "made",
        "call:pid-namespace": "first",
        "call:free-mb": "120000",
        "call:kernel-line": "",
        "call:chain-root": "fs ext4\npart -\ndisk -",
        "call:chain-swap": "",
        "command:systemd-detect-virt --vm": "none",
        "command:systemd-detect-virt --container": "none",
        "command:systemd-detect-virt --cvm": "none",
        "command:unshare --user --map-root-user true": "",
        "file:/sys/class/dmi/id/sys_vendor": "LENOVO",
        "file:/sys/class/dmi/id/product_name": "21HKS0N000",
    }
    for part in parts:
        base |= part
    return made(linux_plan.PLAN, "linux", machine, base, root=root)


def guest(kind: str, vendor: str, product: str, cvm: str = "none") -> dict:
    return {
        "command:systemd-detect-virt --vm": kind,
        "command:systemd-detect-virt --cvm": cvm,
        "file:/sys/class/dmi/id/sys_vendor": vendor,
        "file:/sys/class/dmi/id/product_name": product,
    }


LUKS = {"call:chain-root": "fs btrfs\ndm CRYPT-LUKS2\npart -\ndisk -"}
IOMMU = {"folder:/sys/class/iommu": "dmar0\ndmar1"}
DMA = {
    "folder:/sys/bus/thunderbolt/devices": "domain0",
    "file:/sys/bus/thunderbolt/devices/domain0/iommu_dma_protection": "1",
}
DOCKER = {
    "file:/.dockerenv": "", "call:pid-namespace": "another", "command:systemd-detect-virt --container": "docker",
    "folder:/dev": "", "folder:/sys/firmware/efi": MISSING,
}  # fmt: skip
ARM = "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
ARMCPU = {"file:/proc/cpuinfo": f"processor\t: 0\n{ARM}\nprocessor\t: 1\n{ARM}"}
BOARD = {"file:/sys/class/dmi/id/sys_vendor": MISSING, "file:/sys/class/dmi/id/product_name": MISSING, **ARMCPU}


def optee(version: str = "1 0 1") -> dict:
    return {"open:/dev/tee0": "", "call:tee-version /dev/tee0": version, "folder:/dev": "tee0\nkvm"}


def kvm_amd(sev: str, es: str, snp: str) -> dict:
    path = "file:/sys/module/kvm_amd/parameters/"
    return {f"{path}sev": sev, f"{path}sev_es": es, f"{path}sev_snp": snp}


def windows(*, tool: str | Seen = "", **cim: object) -> Recording:
    base: dict = {"call:free-mb": "90000", "command:tpmtool getdeviceinformation": tool or MISSING}
    told = {
        "computer": {"Manufacturer": "LENOVO", "Model": "21HK", "HypervisorPresent": True, "TotalPhysicalMemory": 17179869184},
        "processor": {"Name": "Intel(R) Core(TM) Ultra 7 165U", "Manufacturer": "GenuineIntel", "NumberOfLogicalProcessors": 14},
        "system": {"Caption": "Microsoft Windows 11 Pro", "BuildNumber": "26100", "Version": "10.0.26100"},
        "device-guard": {"VirtualizationBasedSecurityStatus": 2, "AvailableSecurityProperties": [1, 2, 3, 4],
                         "SecurityServicesRunning": [1, 2]},
    }  # fmt: skip
    for name, value in told.items():
        given = cim.get(name.replace("-", "_"), value)
        base[f"call:cim {name}"] = given if isinstance(given, Seen) else json.dumps(given)
    base["call:cim video"] = "Intel(R) Graphics"
    base["call:bitlocker"] = cim.get("bitlocker", "1")
    secure = r"command:reg query HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State /v UEFISecureBootEnabled"
    base[secure] = cim.get(
        "secure", "\nHKEY_LOCAL_MACHINE\\...\\State\n    UEFISecureBootEnabled    REG_DWORD    0x1\n"
    )
    return made(windows_plan.PLAN, "windows", "amd64", base)


def tool(maker: str, version: str, present: str = "True", spec: str = "2.0") -> str:
    return (
        f"-TPM Present: {present}\n-TPM Version: {spec}\n-TPM Manufacturer ID: {maker}\n-TPM Manufacturer Full Name: {maker}\n"
        f"-TPM Manufacturer Version: {version}\n-Ready For Attestation: True\n"
    )


def mac(*, arm: str | None = "1", brand: str = "Apple M2", vm: str = "0", machine: str = "arm64", **more) -> Recording:
    lines = [f"hw.optional.arm64: {arm}"] if arm is not None else []
    lines += [
        "hw.memsize: 17179869184",
        "hw.ncpu: 8",
        f"machdep.cpu.brand_string: {brand}",
        f"kern.hv_vmm_present: {vm}",
    ]
    lines += ["kern.hv_support: 1", "kern.osproductversion: 15.2", "kern.osrelease: 24.2.0"]
    seen: dict = {
        mac_plan.PLAN.commands[0].name: "\n".join(lines),
        "command:csrutil status": "System Integrity Protection status: enabled.",
        "command:fdesetup status": more.get("vault", "FileVault is On."),
        "command:system_profiler SPiBridgeDataType": more.get("bridge", ""),
        "command:system_profiler SPDisplaysDataType": f"      Chipset Model: {brand}",
        "call:free-mb": "200000",
    }
    return made(mac_plan.PLAN, "darwin", machine, seen)


def recorded() -> dict[str, Recording]:
    """Return what was recorded for real."""
    folder = Path(__file__).parent / "recorded"
    return {path.stem: from_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))}


def denied(recording: Recording, *spared: str) -> Recording:
    """Return what an even less trusted user would have seen."""
    seen = {key: value if key in spared else DENIED for key, value in recording.seen.items()}
    return Recording(system=recording.system, machine=recording.machine, taken=WHEN, seen=seen)


MODERN = linux(
    intel(flags="tme"),
    tpm("INTC", "600.18.45.0"),
    boot(),
    LUKS,
    IOMMU,
    DMA,
    {"open:/dev/kvm": ""},
    pci(("0x030000", "0x8086")),
)
SNP_FLAGS = "sme sev sev_es sev_snp"
EPYC = {"model": "AMD EPYC 9354 32-Core Processor", "family": 25, "number": 17}

TREES: dict[str, Recording] = {
    # laptops and desktops, Linux
    "laptop-intel-ptt": MODERN,
    "laptop-intel-ptt-root": linux(
        intel(flags="tme"), tpm("INTC", "600.18.45.0"), boot(lockdown="none integrity [confidentiality]"), LUKS, IOMMU,
        {"call:msr 0x982": "0000000000000003", "call:cpuid 0x7 0x0": "0 0 2000 0", "folder:/sys/kernel/security/ima": "",
         "file:/sys/kernel/security/ima/runtime_measurements_count": "826", "file:/sys/firmware/acpi/tables/DMAR": "44" * 37 + "0544"},
        root=True,
    ),
    "laptop-intel-skylake-sgx": linux(
        intel("Intel(R) Core(TM) i7-6700HQ CPU @ 2.60GHz", "sgx", number=94), tpm("INTC", "11.6.10.1196"), boot(), release="6.1.0",
    ),
    "laptop-infineon-roca": linux(intel("Intel(R) Core(TM) i5-7200U CPU", number=142), tpm("IFX", "5.51.7.0", "SLB9665"), boot()),
    "laptop-infineon-mended": linux(intel("Intel(R) Core(TM) i5-7200U CPU", number=142), tpm("IFX", "5.62.0.0", "SLB9665"), boot()),
    "laptop-st-tpm-fail": linux(intel("Intel(R) Core(TM) i7-8550U CPU", number=142), tpm("STM", "73.8.17568.4452"), boot()),
    "laptop-amd-zen3": linux(
        amd(flags="sme sev sev_es"), tpm("AMD", "3.58.0.5"), boot(), LUKS,
        {"folder:/sys/bus/pci/drivers/ccp": "0000:06:00.2", "file:/sys/bus/pci/drivers/ccp/0000:06:00.2/tsme_status": "1"}, optee("2 1 0"),
    ),
    "laptop-amd-pluton": linux(amd("AMD Ryzen 7 PRO 7840U", number=116), tpm("MSFT", "6.5.0.1", "Pluton.TPM.A"), boot(), LUKS),
    "desktop-nvidia-tpm-denied": linux(
        amd("AMD Ryzen 9 7950X", number=97), tpm("NTC", "7.2.3.1", usable=False), boot(secure=0), pci(("0x030000", "0x10de")),
        {"open:/dev/kvm": DENIED, "command:nvidia-smi --query-gpu=name,memory.total --format=csv,noheader":
         "NVIDIA GeForce RTX 4090, 24564 MiB", "command:nvidia-smi conf-compute -f": FAILED},
    ),
    "laptop-all-denied": denied(MODERN, "file:/proc/cpuinfo"),
    "desktop-core2-bios": linux(
        {"file:/proc/cpuinfo": cpu("GenuineIntel", "Intel(R) Core(TM)2 Duo CPU E8400", "fpu vmx", 6, 23, 2)},
        {"call:landlock-abi": MISSING, "call:memfd-secret": MISSING, "file:/sys/fs/cgroup/cgroup.controllers": MISSING,
         "folder:/sys/class/tpm": ""}, release="4.19.0",
    ),
    "desktop-tpm-1.2": linux(
        intel("Intel(R) Core(TM) i5-3470 CPU", number=58),
        {"folder:/sys/class/tpm": "tpm0", "file:/sys/class/tpm/tpm0/tpm_version_major": "1", "folder:/dev": "kvm\ntpm0"},
    ),
    "laptop-swap-in-clear": linux(
        intel(), {"file:/proc/swaps": "Filename Type Size Used Priority\n/dev/nvme0n1p3 partition 8388604 0 -2",
                  "call:chain-swap": "swap\npart -\ndisk -"},
    ),
    # Arm
    "board-raspberry-pi-4": linux(
        BOARD, {"file:/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0", "command:systemd-detect-virt --vm": MISSING},
        machine="aarch64",
    ),
    "board-raspberry-pi-3-op-tee": linux(
        BOARD, optee(), {"file:/proc/device-tree/model": "Raspberry Pi 3 Model B Plus Rev 1.3\0"}, machine="aarch64",
    ),
    "board-imx8-op-tee": linux(
        BOARD, optee(), {"file:/proc/device-tree/model": "NXP i.MX8MPlus EVK board\0",
                         "file:/proc/device-tree/firmware/optee/compatible": "linaro,optee-tz\0"}, machine="aarch64",
    ),
    "board-op-tee-denied": linux(
        BOARD, {"file:/proc/device-tree/firmware/optee/compatible": "linaro,optee-tz\0", "folder:/dev": "tee0", "open:/dev/tee0": DENIED,
                "call:tee-version /dev/tee0": DENIED, "file:/proc/device-tree/model": "STMicroelectronics STM32MP157C-DK2\0"},
        machine="aarch64",
    ),
    "board-qemu-op-tee": linux(
        BOARD, optee(), {"file:/proc/device-tree/model": "linux,dummy-virt\0", "command:systemd-detect-virt --vm": "qemu"}, machine="aarch64",
    ),
    "guest-arm-cca": linux(
        BOARD, {"command:systemd-detect-virt --vm": "kvm", "command:systemd-detect-virt --cvm": "cca",
                "file:/sys/firmware/cca/realm_guest": "1"}, machine="aarch64", release="6.13.0",
    ),
    # servers
    "server-epyc-snp-host": linux(
        amd(**EPYC, flags=SNP_FLAGS), kvm_amd("Y", "Y", "Y"), tpm("NTC", "7.2.3.1"), boot(),
        {"open:/dev/sev": "", "folder:/dev": "kvm\nsev", "call:cpuid 0x8000001f 0x0": "1f 173 1fd 1", "call:msr 0xc0010010": "0000000000800000"},
        root=True,
    ),
    "server-epyc-snp-user": linux(amd(**EPYC, flags=SNP_FLAGS), kvm_amd("Y", "Y", "Y"), {"open:/dev/sev": DENIED, "folder:/dev": "kvm\nsev"}),
    "server-epyc-sev-off": linux(
        amd(**EPYC), kvm_amd("N", "N", "N"), {"call:cpuid 0x8000001f 0x0": "1f 173 1fd 1"}, root=True,
    ),
    "server-xeon-tdx-host": linux(
        intel("INTEL(R) XEON(R) PLATINUM 8592+", "tme sgx sgx_lc tdx_host_platform", number=207),
        {"file:/sys/module/kvm_intel/parameters/tdx": "Y", "open:/dev/sgx_enclave": "", "open:/dev/sgx_provision": "",
         "folder:/dev": "kvm\nsgx_enclave\nsgx_provision"},
    ),
    "server-xeon-sgx-user": linux(
        intel("Intel(R) Xeon(R) Gold 6338 CPU", "sgx sgx_lc", number=106),
        {"open:/dev/sgx_enclave": "", "open:/dev/sgx_provision": DENIED, "folder:/dev": "kvm\nsgx_enclave\nsgx_provision"},
    ),
    "server-xeon-tdx-without-its-flag": linux(
        intel("INTEL(R) XEON(R) PLATINUM 8592+", "tme", number=207), {"file:/sys/module/kvm_intel/parameters/tdx": "Y"},
    ),
    "guest-arm-by-device-tree": linux(
        BOARD, {"command:systemd-detect-virt --vm": MISSING, "file:/proc/device-tree/model": "linux,dummy-virt\0",
                "file:/proc/device-tree/hypervisor/compatible": "xen,xen-4.17\0xen,xen\0"}, machine="aarch64",
    ),
    # cloud guests
    "guest-azure-snp": linux(
        amd(**EPYC, flags="hypervisor"), guest("microsoft", "Microsoft Corporation", "Virtual Machine", "sev-snp"),
        tpm("MSFT", "8217.4131.22.13878", "xCG fTPM"), boot(), {"open:/dev/sev-guest": MISSING}, release="5.15.0",
    ),
    "guest-gcp-snp": linux(
        amd(**EPYC, flags="hypervisor"), guest("google", "Google", "Google Compute Engine", "sev-snp"), tpm("GOOG", "0.0.0.1"), boot(),
        {"open:/dev/sev-guest": "", "folder:/dev": "sev-guest", "folder:/sys/kernel/config/tsm/report": ""}, root=True,
    ),
    "guest-gcp-tdx": linux(
        intel("INTEL(R) XEON(R) PLATINUM 8481C CPU", "hypervisor tdx_guest", number=143), tpm("GOOG", "0.0.0.1"), boot(),
        guest("google", "Google", "Google Compute Engine", "tdx"), {"open:/dev/tdx_guest": DENIED, "folder:/dev": "tdx_guest"},
    ),
    "guest-aws-snp": linux(
        amd(**EPYC, flags="hypervisor"), guest("amazon", "Amazon EC2", "r6a.large", "sev-snp"), tpm("AMZN", "1.0.0.0"), boot(),
        {"open:/dev/sev-guest": "", "folder:/dev": "sev-guest"},
    ),
    "guest-aws-nitro-enclave": linux(
        amd(**EPYC, flags="hypervisor"), guest("amazon", "Amazon EC2", "", "none"), {"open:/dev/nsm": "", "folder:/dev": "nsm"}, root=True,
    ),
    "guest-h100-cc": linux(
        amd(**EPYC, flags="hypervisor"), guest("kvm", "QEMU", "Standard PC (Q35 + ICH9, 2009)", "sev-snp"), pci(("0x030200", "0x10de")),
        {"open:/dev/sev-guest": "", "folder:/dev": "sev-guest", "command:nvidia-smi conf-compute -f": "CC status: ON",
         "command:nvidia-smi --query-gpu=name,memory.total --format=csv,noheader": "NVIDIA H100 PCIe, 81559 MiB"},
    ),
    "guest-kvm-swtpm": linux(
        amd(flags="hypervisor"), guest("kvm", "QEMU", "Standard PC (Q35 + ICH9, 2009)"), tpm("IBM", "8217.4131.22.13878", "SW   TPM"), boot(),
    ),
    "guest-vmware": linux(intel(flags="hypervisor"), guest("vmware", "VMware, Inc.", "VMware20,1"), tpm("VMW", "2.101.0.1", "VMW_TPM"), boot()),
    "guest-kvm-dressed-as-hyper-v": linux(
        intel(flags="hypervisor"), guest("kvm", "QEMU", "Standard PC"), {"call:cpuid 0x40000000 0x0": "4000000a 7263694d 666f736f 76482074"},
        root=True,
    ),
    "wsl-2": linux(
        intel(flags="hypervisor"), {"command:systemd-detect-virt --vm": "microsoft", "command:systemd-detect-virt --container": "wsl",
                                    "file:/sys/class/dmi/id/sys_vendor": MISSING, "file:/sys/class/dmi/id/product_name": MISSING},
        release="5.15.153.1-microsoft-standard-WSL2",
    ),
    # containers
    "container-docker": linux(intel(), DOCKER),
    "container-podman-rootless": linux(
        amd(), {"file:/run/.containerenv": "", "call:pid-namespace": "another", "command:systemd-detect-virt --container": MISSING,
                "folder:/dev": "", "command:unshare --user --map-root-user true": FAILED},
    ),
    "container-unmarked": linux(intel(), {"call:pid-namespace": "another", "folder:/dev": ""}),
    # Windows and macOS
    "windows-11-vbs": windows(tool=tool("INTC", "600.18.45.0")),
    "windows-11-amd-vbs-off": windows(
        tool=tool("AMD", "3.58.0.5"), device_guard={"VirtualizationBasedSecurityStatus": 0, "AvailableSecurityProperties": [1, 2],
                                                    "SecurityServicesRunning": [0]}, bitlocker="2",
        computer={"Manufacturer": "ASUS", "Model": "PRIME", "HypervisorPresent": False, "TotalPhysicalMemory": 34359738368},
        processor={"Name": "AMD Ryzen 5 5600X", "Manufacturer": "AuthenticAMD", "NumberOfLogicalProcessors": 12},
    ),
    "windows-10-old": windows(
        tool=tool("IFX", "4.32.0.0", spec="1.2"), system={"Caption": "Microsoft Windows 10 Home", "BuildNumber": "19045", "Version": "10.0.19045"},
        device_guard=FAILED, secure=FAILED,
    ),
    "windows-hyper-v-guest": windows(
        tool=tool("MSFT", "8217.4131"), computer={"Manufacturer": "Microsoft Corporation", "Model": "Virtual Machine", "HypervisorPresent": True,
                                                  "TotalPhysicalMemory": 8589934592},
    ),
    "windows-late": windows(tool=LATE, computer=LATE, processor=LATE, system=LATE, device_guard=LATE, secure=LATE, bitlocker=LATE),
    "mac-m2": mac(),
    "mac-intel-t2": mac(arm=None, brand="Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", machine="x86_64", bridge="      Model Name: Apple T2 Security Chip"),
    "mac-intel-2015": mac(arm=None, brand="Intel(R) Core(TM) i5-5257U CPU", machine="x86_64", vault="FileVault is Off."),
    "mac-guest": mac(brand="Apple M2 (Virtual)", vm="1"),
    "freebsd": Recording(system="freebsd", machine="amd64", taken=WHEN),
}  # fmt: skip

FORGED: dict[str, tuple[Recording, str]] = {
    "sev-on-arm": (
        linux({"file:/proc/cpuinfo": f"processor\t: 0\nflags\t: {SNP_FLAGS}\n{ARM}"}, kvm_amd("Y", "Y", "Y"), machine="aarch64"),
        "claims what only x86 has",
    ),
    "x86-devices-on-arm": (linux(BOARD, {"open:/dev/sev": "", **kvm_amd("Y", "Y", "Y")}, machine="aarch64"), "devices that only x86 has"),
    "sev-on-intel": (linux(intel(flags=SNP_FLAGS), kvm_amd("Y", "Y", "Y")), "only another maker has"),
    "sgx-on-amd": (linux(amd(flags="sgx sgx_lc"), {"open:/dev/sgx_enclave": ""}), "only another maker has"),
    "cca-on-x86": (linux(intel(), {"file:/sys/firmware/cca/realm_guest": "1"}), "what only Arm has"),
    "op-tee-on-x86": (linux(intel(), optee()), "what only Arm has"),
    "snp-without-es": (linux(amd(**EPYC, flags="sev sev_snp"), kvm_amd("Y", "N", "Y")), "sev_snp without sev_es"),
    "kvm-snp-without-processor": (linux(amd(**EPYC), kvm_amd("Y", "Y", "Y")), "the processor does not show it"),
    "two-hypervisors": (linux(intel(flags="hypervisor"), guest("kvm", "VMware, Inc.", "VMware20,1")), "two hypervisors"),
    "guest-without-flag": (linux(intel(), guest("kvm", "QEMU", "Standard PC")), "a virtual machine; the processor: none"),
    "flag-without-guest": (linux(intel(flags="hypervisor")), "systemd-detect-virt: none"),
    "tdx-flag-without-device": (
        linux(intel("INTEL(R) XEON(R)", "hypervisor tdx_guest"), guest("kvm", "QEMU", "Standard PC", "tdx")), "no /dev/tdx_guest to ask",
    ),
    "tdx-device-without-flag": (
        linux(intel("INTEL(R) XEON(R)", "hypervisor"), guest("kvm", "QEMU", "Standard PC"), {"open:/dev/tdx_guest": ""}),
        "does not say TDX guest",
    ),
    "snp-word-without-device": (linux(amd(**EPYC, flags="hypervisor"), guest("kvm", "QEMU", "Standard PC", "sev-snp")), "no /dev/sev-guest"),
    "sgx-device-without-flag": (linux(intel(), {"open:/dev/sgx_enclave": ""}), "does not say SGX"),
    "tdx-in-no-machine": (
        linux(intel("INTEL(R) XEON(R)", "tdx_guest"), {"open:/dev/tdx_guest": "", "command:systemd-detect-virt --cvm": "tdx"}),
        "in no virtual machine",
    ),
    "two-tees": (
        linux(amd(**EPYC, flags="hypervisor tdx_guest"), guest("kvm", "QEMU", "Standard PC", "sev-snp"),
              {"open:/dev/sev-guest": "", "open:/dev/tdx_guest": ""}),
        "two kinds of confidential machine",
    ),
    "tpm-of-version-7": (linux(intel(), tpm("INTC"), {"file:/sys/class/tpm/tpm0/tpm_version_major": "7"}), "a version there is none of"),
    "tpm-of-no-family": (
        linux(intel(), tpm("INTC"), {"call:tpm-properties": "0x100 0x342e3000\n0x105 0x494e5443"}), "a version there is none of",
    ),
    "tpm-1.2-that-speaks-2.0": (linux(intel(), tpm("IFX", "7.85.0.0"), {"file:/sys/class/tpm/tpm0/tpm_version_major": "1"}), "TPM 1.2 that"),
    "tpm-that-is-not-there": (
        linux(intel(), {"call:tpm-properties": "0x100 0x322e3000\n0x105 0x494e5443", "folder:/sys/class/tpm": ""}), "there is no TPM",
    ),
    "amd-tpm-on-intel": (linux(intel(), tpm("AMD", "3.58.0.5")), "another maker than the processor's"),
    "intel-tpm-on-amd": (linux(amd(), tpm("INTC", "600.18.45.0")), "another maker than the processor's"),
    "physical-tpm-in-guest": (linux(intel(flags="hypervisor"), guest("kvm", "QEMU", "Standard PC"), tpm("IFX", "7.85.0.0")), "physical TPM"),
    "virtual-tpm-on-metal": (linux(intel(), tpm("VMW", "2.101.0.1")), "a virtual TPM in no virtual machine"),
    "landlock-before-its-time": (linux(intel(), {"call:landlock-abi": "7"}, release="5.4.0"), "Landlock ABI 7 on Linux 5.4"),
    "landlock-of-the-future": (linux(intel(), {"call:landlock-abi": "5000"}), "Landlock ABI 5000"),
    "tdx-before-its-time": (
        linux(intel("INTEL(R) XEON(R)", "hypervisor tdx_guest"), guest("kvm", "QEMU", "PC", "tdx"), {"open:/dev/tdx_guest": ""}, release="5.4.0"),
        "a TDX guest on Linux 5.4",
    ),
    "tsm-before-its-time": (linux(intel(), {"folder:/sys/kernel/config/tsm/report": ""}, release="6.1.0"), "configfs-tsm on Linux 6.1"),
    "no-memory": (linux(intel(), {"file:/proc/meminfo": "MemTotal: 0 kB"}), "without memory"),
    "secure-boot-in-setup-mode": (linux(intel(), boot(setup=1)), "in setup mode"),
    "secure-boot-of-2": (linux(intel(), boot(secure=2)), "neither on nor off"),
    "secure-boot-without-efi": (linux(intel(), boot(), {"folder:/sys/firmware/efi": MISSING}), "without EFI"),
    "two-memory-encryptions": (linux(intel(flags="tme sme")), "two makers at once"),
    "kvm-without-virtualisation": (
        linux({"file:/proc/cpuinfo": cpu("GenuineIntel", "x", "fpu")}, {"open:/dev/kvm": ""}), "the processor cannot virtualise",
    ),
    "mac-arm-on-intel": (mac(brand="Intel(R) Core(TM) i7-9750H CPU", machine="x86_64"), "Apple silicon with a processor of Intel's"),
    "mac-enclave-in-guest": (mac(vm="1"), "a Secure Enclave in a virtual machine"),
    "windows-vbs-without-hypervisor": (
        windows(device_guard={"VirtualizationBasedSecurityStatus": 2, "AvailableSecurityProperties": [2, 3], "SecurityServicesRunning": [2]}),
        "no hypervisor is available",
    ),
    "windows-services-without-vbs": (
        windows(device_guard={"VirtualizationBasedSecurityStatus": 0, "AvailableSecurityProperties": [1], "SecurityServicesRunning": [1]}),
        "VBS is off",
    ),
    "windows-maker-without-tpm": (windows(tool=tool("INTC", "600.18.45.0", present="False")), "no TPM, and its maker's name"),
    "windows-amd-tpm-on-intel": (windows(tool=tool("AMD", "3.58.0.5")), "another maker than the processor's"),
}  # fmt: skip
