"""Is this a machine, a virtual machine or a container; and may it run virtual machines of its own."""

from propolis.decisions.capabilities.look import Look
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

DETECT_VM = "command:systemd-detect-virt --vm"
DETECT_CONTAINER = "command:systemd-detect-virt --container"
VENDOR, PRODUCT = "file:/sys/class/dmi/id/sys_vendor", "file:/sys/class/dmi/id/product_name"
XEN = "file:/sys/hypervisor/type"
TREE = "file:/proc/device-tree/hypervisor/compatible"
BOARD = "file:/proc/device-tree/model"
HYPERVISOR_LEAF = 0x40000000
RELEASE = "file:/proc/sys/kernel/osrelease"

FAMILIES = {
    "kvm": ("kvm", "qemu", "KVMKVMKVM", "Linux KVM", "TCGTCGTCGTCG"),
    "amazon": ("amazon", "Amazon EC2"),
    "google": ("google", "Google Compute Engine"),
    "firecracker": ("firecracker",),
    "microsoft": ("microsoft", "Microsoft Hv", "Microsoft Corporation", "wsl"),
    "vmware": ("vmware", "VMwareVMware", "VMware, Inc."),
    "virtualbox": ("oracle", "innotek GmbH", "VirtualBox", "VBoxVBoxVBox"),
    "xen": ("xen", "XenVMMXenVMM", "HVM domU"),
    "parallels": ("parallels", "Parallels"),
    "apple": ("apple", "Apple Virtualization"),
    "bhyve": ("bhyve", "bhyve bhyve"),
}
ON_KVM = frozenset(
    ("kvm", "amazon", "google", "firecracker")
)  # names that different places give to one and the same hypervisor


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [guest(look), _container(look), _host(look)]


def witnesses(look: Look) -> dict[str, str]:
    """Return which family of hypervisors each place names; places that name none are left out."""
    spoken = look.recording.text(DETECT_VM)
    leaf = look.cpuid(HYPERVISOR_LEAF) if look.flag("hypervisor") else None  # without the flag the leaf means nothing
    said = {
        "systemd-detect-virt": spoken if spoken and spoken != "none" else "",
        "DMI": f"{look.recording.text(VENDOR) or ''} {look.recording.text(PRODUCT) or ''}",
        "/sys/hypervisor": look.recording.text(XEN) or "",
        "device tree": (look.recording.text(TREE) or "").replace("\0", " "),
        "CPUID": b"".join(each.to_bytes(4, "little") for each in leaf[1:] if each < 2**32).decode("latin-1")
        if leaf
        else "",
        "kernel's name": "wsl" if "microsoft" in (look.recording.text(RELEASE) or "").lower() else "",
    }
    found = {}
    for place, text in said.items():
        family = _family(text.strip("\0 "), whole=place == "systemd-detect-virt")
        if family and not (place == "DMI" and family == "microsoft" and "Virtual Machine" not in text):
            found[place] = family
    return found


def _family(text: str, *, whole: bool) -> str:
    for family, names in FAMILIES.items():
        if any(text == name if whole else name in text or name.lower() == text.lower() for name in names):
            return family
    return ""


def guest(look: Look) -> Fact:
    """Return whether this is a virtual machine; `absent` when every place was asked and none says so."""
    name, found = "virtual.guest", witnesses(look)
    flag = look.flag("hypervisor")
    if found or flag:
        families = sorted(set(found.values()))
        how = ", ".join([*found, *(["processor flag"] if flag else [])])
        return look.fact(name, State.PRESENT, value=", ".join(families), how=how, more="a machine of its own")
    keys = ["file:/proc/cpuinfo", DETECT_VM, VENDOR, PRODUCT, XEN, TREE, RELEASE]
    if not look.x86 and look.recording.at(DETECT_VM).outcome is Outcome.MISSING and look.recording.text(BOARD) is None:
        return look.fact(name, State.UNKNOWN, how="no place that would say", more="systemd-detect-virt")
    if not look.cpu:
        return look.fact(name, State.UNKNOWN, how="/proc/cpuinfo is not told")
    return look.nothing(name, *keys, how="no place says so; a hypervisor can hide")


def _container(look: Look) -> Fact:
    spoken = look.recording.text(DETECT_CONTAINER)
    if look.masked:
        named = spoken if spoken not in (None, "none") else ""
        sure = named or look.recording.text("call:pid-namespace") == "another" or _files(look)
        state = State.PRESENT if sure else State.UNKNOWN
        more = "run outside the container: devices are hidden here" if sure else ""
        return look.fact("virtual.container", state, value=named or "", how="namespaces, marker files", more=more)
    return look.nothing("virtual.container", DETECT_CONTAINER, how="first process namespace, no marker files")


def _files(look: Look) -> bool:
    paths = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
    return any(look.recording.at(f"file:{path}").outcome is Outcome.OK for path in paths)


def _host(look: Look) -> Fact:
    name, state = "virtual.host", look.device("/dev/kvm")
    if state in (State.ENABLED, State.USABLE):
        more = "" if state is State.USABLE else "membership in the group kvm"
        return look.fact(name, state, how="/dev/kvm", more=more)
    if look.flag("vmx") or look.flag("svm"):
        return look.fact(name, State.PRESENT, how="processor flag, no /dev/kvm", more="the kernel's KVM module")
    if look.x86 and look.cpu and state is State.ABSENT:
        return look.nothing(
            name, "file:/proc/cpuinfo", "open:/dev/kvm", how="no flag, no /dev/kvm", more="VT-x or AMD-V in firmware"
        )
    keys = ("file:/proc/cpuinfo", "open:/dev/kvm", "folder:/dev")
    return look.nothing(name, *keys, devices=True, more="the kernel's KVM module")
