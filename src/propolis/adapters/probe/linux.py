"""What is asked of Linux: the declared list. docs/specs/capabilities.md says what each place is for."""

from functools import partial

from propolis.adapters.probe import linux_calls as calls
from propolis.adapters.probe.plan import Command, Leaves, Plan, lines_with, processors, words_with

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
KVM_AMD = "/sys/module/kvm_amd/parameters"
IMA = "/sys/kernel/security/ima"
DEVICES = (
    "kvm", "tpmrm0", "sev", "sev-guest", "tdx_guest", "sgx_enclave", "sgx_provision", "nsm", "tee0", "tee1", "tee2", "tee3",
)  # fmt: skip
HSI = (
    "busctl", "--system", "--auto-start=no", "get-property", "org.freedesktop.fwupd", "/", "org.freedesktop.fwupd",
    "HostSecurityId",
)  # fmt: skip
KERNEL_WORDS = (
    "iommu", "intel_iommu=", "amd_iommu=", "mem_encrypt=", "lockdown=", "ima_policy=", "lsm=", "kvm_amd.", "kvm_intel.", "tsme=",
    "efi=disable_early_pci_dma", "module.sig_enforce", "nosgx", "secretmem.enable=",
)  # fmt: skip
CPUID_LEAVES = (0x7, 0x8000001F, 0x40000000)
MSRS = (0x982, 0xC0010010, 0xC0010131)

PLAN = Plan(
    texts=(
        "/proc/sys/kernel/osrelease",
        "/sys/devices/system/cpu/online",
        "/proc/device-tree/model",
        "/proc/device-tree/hypervisor/compatible",
        "/proc/device-tree/firmware/optee/compatible",
        "/sys/class/dmi/id/sys_vendor",
        "/sys/class/dmi/id/product_name",
        "/sys/hypervisor/type",
        "/sys/class/tpm/tpm0/tpm_version_major",
        f"{KVM_AMD}/sev",
        f"{KVM_AMD}/sev_es",
        f"{KVM_AMD}/sev_snp",
        "/sys/module/kvm_intel/parameters/tdx",
        "/sys/firmware/cca/realm_guest",
        "/sys/kernel/security/lockdown",
        f"{IMA}/runtime_measurements_count",
        "/proc/sys/kernel/seccomp/actions_avail",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "/sys/fs/cgroup/cgroup.controllers",
        "/sys/fs/cgroup/unified/cgroup.controllers",
    ),
    kept={
        "/proc/cpuinfo": processors,
        "/proc/meminfo": lines_with("MemTotal:"),
        "/proc/self/status": lines_with("NoNewPrivs:", "Seccomp:"),
        "/proc/swaps": lambda text: "\n".join(_area(line) for line in text.split("\n")),
        "/etc/os-release": lines_with("PRETTY_NAME=", "NAME="),
        "/.dockerenv": lambda _: "",
        "/run/.containerenv": lambda _: "",
        "/run/systemd/container": lambda _: "",
    },
    binaries=(
        f"/sys/firmware/efi/efivars/SecureBoot-{GLOBAL}",
        f"/sys/firmware/efi/efivars/SetupMode-{GLOBAL}",
        "/sys/firmware/acpi/tables/DMAR",
    ),
    folders={
        "/dev": (*DEVICES, "tpm0"),
        "/dev/dri": ("renderD",),
        "/sys/class/tpm": ("tpm",),
        "/sys/class/accel": ("accel",),
        "/sys/class/iommu": ("dmar", "ivhd", "smmu", "iommu", "arm-smmu"),
        "/sys/firmware/efi": (),
        IMA: (),
        "/sys/kernel/config/tsm/report": (),
        "/sys/devices/platform/arm-cca-dev": (),
    },
    leaves=(
        Leaves("/sys/bus/pci/devices", ("0", "1"), ("class", "vendor")),
        Leaves("/sys/bus/pci/drivers/ccp", ("0", "1"), ("tsme_status",)),
        Leaves("/sys/bus/thunderbolt/devices", ("domain",), ("iommu_dma_protection",)),
    ),
    devices=(*(f"/dev/{name}" for name in DEVICES), "/dev/dri/renderD128", "/dev/dri/renderD129"),
    calls={
        "chain-root": calls.root_chain,
        "chain-swap": calls.swap_chains,
        "landlock-abi": calls.landlock_abi,
        "memfd-secret": calls.memfd_secret,
        "pid-namespace": calls.pid_namespace,
        "tpm-properties": calls.tpm_properties,
        "free-mb": calls.free_mb,
        "kernel-line": lambda: words_with(*KERNEL_WORDS)(_line()),
        **{f"tee-version /dev/tee{n}": partial(calls.tee_version, f"/dev/tee{n}") for n in range(4)},
        **{f"cpuid {leaf:#x} 0x0": partial(calls.cpuid, leaf) for leaf in CPUID_LEAVES},
        **{f"msr {register:#x}": partial(calls.msr, register) for register in MSRS},
    },
    commands=(
        Command(("systemd-detect-virt", "--vm"), partial=True),
        Command(("systemd-detect-virt", "--container"), partial=True),
        Command(("systemd-detect-virt", "--cvm"), partial=True),
        Command(("unshare", "--user", "--map-root-user", "true")),
        Command(("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")),
        Command(("nvidia-smi", "conf-compute", "-f")),
        Command(HSI),
    ),
)


def _line() -> str:
    with open("/proc/cmdline", encoding="utf-8", errors="replace") as file:
        return file.read(65_536)


def _area(line: str) -> str:
    """Return a line of /proc/swaps with the path of a file, which may hold a name, left out."""
    words = line.split()
    return line if not words or words[0].startswith(("/dev/", "Filename")) else " ".join(["a-file", *words[1:]])
