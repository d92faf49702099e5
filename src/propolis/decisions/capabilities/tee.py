"""Trusted execution: what this machine may host, and what it may be running inside of. Linux.

A processor's bit is `present`, a switched-on host is `enabled`, a device this user can open is `usable`. None of it is
evidence: on a virtual machine all of it is the host's word.
"""

from propolis.decisions.capabilities.look import ROOT_CPUID, Look, best, cpuid_key, msr_key, number
from propolis.decisions.capabilities.virtualisation import guest
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

CPUINFO = "file:/proc/cpuinfo"
CVM = "command:systemd-detect-virt --cvm"
SEV_LEAF = 0x8000001F
SEV_STATUS = 0xC0010131  # bits 0, 1, 2: SEV, SEV-ES, SEV-SNP active in this guest
TEES = tuple(f"/dev/tee{n}" for n in range(4))
OPTEE_TREE = "/proc/device-tree/firmware/optee/compatible"
TSM = "/sys/kernel/config/tsm/report"
REALM = "/sys/firmware/cca/realm_guest"
CLIENT_NAMES = ("Core", "Celeron", "Pentium", "Atom", "N100", "N200")
_FIRMWARE = "the setting of this name in the firmware"


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [*_sgx(look), *_sev_host(look), *_sev_guest(look), *_tdx(look), *_others(look), *_trustzone(look)]


def _sgx(look: Look) -> list[Fact]:
    name, leaf = "tee.sgx", look.cpuid(7)
    enclave, provision = look.device("/dev/sgx_enclave"), look.device("/dev/sgx_provision")
    lease = look.flag("sgx_lc")
    shown = look.flag("sgx") or bool(leaf and leaf[1] >> 2 & 1)
    state = best([State.PRESENT if shown else State.ABSENT, enclave])
    old = "" if lease else "a processor with flexible launch control: the kernel's driver refuses this one"
    if state in (State.PRESENT, State.ENABLED, State.USABLE):
        more = "" if state is State.USABLE else old or f"{_FIRMWARE}; membership in the group sgx"
        chip = look.fact(name, state, how="processor flag, /dev/sgx_enclave", more=more)
    elif look.cpu and look.vendor != "intel":
        chip = look.nothing(name, CPUINFO, how="not an Intel processor")
    else:
        chip = look.nothing(
            name, CPUINFO, cpuid_key(7), "open:/dev/sgx_enclave", "folder:/dev", devices=True, more=ROOT_CPUID
        )
    return [chip, _sgx_attestation(look, chip, provision)]


def _sgx_attestation(look: Look, chip: Fact, provision: State) -> Fact:
    name, more = "tee.sgx-attestation", "a server processor, and Intel's DCAP"
    if provision in (State.ENABLED, State.USABLE):
        return look.fact(name, provision, how="/dev/sgx_provision", more=more)
    state = State.ABSENT if State.ABSENT in (chip.state, provision) else State.UNKNOWN
    return look.fact(name, state, how="/dev/sgx_provision" if chip.found else chip.how, more=more)


def _sev_host(look: Look) -> list[Fact]:
    """Return SEV, SEV-ES, SEV-SNP as a host may offer them to its guests."""
    found, leaf = [], look.cpuid(SEV_LEAF)
    for name, flag, bit, switch in (
        ("tee.sev", "sev", 1, "sev"), ("tee.sev-es", "sev_es", 3, "sev_es"), ("tee.sev-snp", "sev_snp", 4, "sev_snp"),
    ):  # fmt: skip
        path = f"/sys/module/kvm_amd/parameters/{switch}"
        on, shown = look.yes(path), look.flag(flag) or bool(leaf and leaf[0] >> bit & 1)
        if on:
            state = best([State.ENABLED, look.device("/dev/sev")])
            found.append(look.fact(name, state, how=f"kvm_amd parameter {switch}, /dev/sev", more=_opened(state)))
        elif shown:
            more = f"SEV in the firmware's settings; kvm_amd.{switch}=1"
            found.append(look.fact(name, State.PRESENT, how="processor bit, not switched on in KVM", more=more))
        elif look.cpu and (look.vendor != "amd" or (look.family or 0) < 0x17):
            found.append(look.nothing(name, CPUINFO, how="not a processor of AMD's with SEV"))
        else:
            found.append(look.nothing(name, CPUINFO, cpuid_key(SEV_LEAF), f"file:{path}", more=ROOT_CPUID))
    return found


def _sev_guest(look: Look) -> list[Fact]:
    status, spoken, device = look.msr(SEV_STATUS), look.recording.text(CVM), look.device("/dev/sev-guest")
    active = {
        "tee.sev-guest": bool(status and status & 3) or spoken in ("sev", "sev-es"),
        "tee.snp-guest": bool(status and status & 4) or spoken == "sev-snp",
    }
    found, keys = [], (CPUINFO, CVM, "open:/dev/sev-guest", "folder:/dev")
    alone = guest(look).state is State.ABSENT
    for name, on in active.items():
        state = best([State.ENABLED if on else State.ABSENT, device if name == "tee.snp-guest" else State.ABSENT])
        if state in (State.ENABLED, State.USABLE):
            found.append(
                look.fact(name, state, how="SEV_STATUS, systemd-detect-virt --cvm, /dev/sev-guest", more=_opened(state))
            )
        elif look.cpu and look.vendor != "amd":
            found.append(look.nothing(name, CPUINFO, how="not an AMD processor"))
        elif alone:
            found.append(look.nothing(name, CPUINFO, "open:/dev/sev-guest", "folder:/dev", how="no virtual machine"))
        else:
            more = "root with the msr module would read SEV_STATUS"
            found.append(look.nothing(name, *keys, msr_key(SEV_STATUS), devices=True, more=more))
    return found


def _tdx(look: Look) -> list[Fact]:
    return [_tdx_host(look), _tdx_guest(look)]


def _tdx_host(look: Look) -> Fact:
    name, path = "tee.tdx", "/sys/module/kvm_intel/parameters/tdx"
    if look.yes(path):
        return look.fact(name, State.ENABLED, how="kvm_intel parameter tdx")
    if look.flag("tdx_host_platform"):
        return look.fact(name, State.PRESENT, how="processor flag", more="kvm_intel.tdx=1")
    model = look.cpu.get("model name", "")
    if look.cpu and (look.vendor != "intel" or any(part in model for part in CLIENT_NAMES)):
        return look.nothing(name, CPUINFO, how="not a server processor of Intel's")
    return look.nothing(name, CPUINFO, f"file:{path}", how="the kernel shows no TDX", more=f"{_FIRMWARE}, on a Xeon")


def _tdx_guest(look: Look) -> Fact:
    name, device = "tee.tdx-guest", look.device("/dev/tdx_guest")
    inside = look.flag("tdx_guest") or look.recording.text(CVM) == "tdx"  # which asks CPUID leaf 0x21 itself
    if device in (State.ENABLED, State.USABLE):
        return look.fact(name, device, how="/dev/tdx_guest", more=_opened(device))
    if inside:
        return look.fact(name, State.PRESENT, how="processor flag, systemd-detect-virt", more="its guest driver")
    if look.cpu and look.vendor != "intel":
        return look.nothing(name, CPUINFO, how="not an Intel processor")
    return look.nothing(name, CPUINFO, CVM, "open:/dev/tdx_guest", "folder:/dev", devices=True)


def _others(look: Look) -> list[Fact]:
    realm = look.recording.text(f"file:{REALM}") == "1" or look.recording.text(CVM) == "cca"
    old = look.recording.at("folder:/sys/devices/platform/arm-cca-dev").outcome is Outcome.OK
    if realm or old:
        cca = look.fact("tee.cca-guest", State.ENABLED, how=f"{REALM}, arm-cca-dev")
    elif look.x86:
        cca = look.fact("tee.cca-guest", State.ABSENT, how="not an Arm processor")
    else:
        cca = look.nothing("tee.cca-guest", f"file:{REALM}", "folder:/sys/devices/platform/arm-cca-dev", CVM)
    return [cca, _nitro(look), _report(look)]


def _nitro(look: Look) -> Fact:
    state = look.device("/dev/nsm")
    if state in (State.ENABLED, State.USABLE):
        return look.fact("tee.nitro-enclave", state, how="/dev/nsm", more=_opened(state))
    return look.nothing("tee.nitro-enclave", "open:/dev/nsm", "folder:/dev", devices=True)


def _report(look: Look) -> Fact:
    if look.recording.at(f"folder:{TSM}").outcome is Outcome.OK:
        state = State.USABLE if look.recording.root else State.ENABLED
        return look.fact("tee.report", state, how=TSM, more="" if look.recording.root else "root")
    return look.nothing(
        "tee.report", f"folder:{TSM}", devices=True, more="Linux 6.7 or newer, with configfs mounted, in a TEE"
    )


def _trustzone(look: Look) -> list[Fact]:
    """Return OP-TEE and AMD's TEE: both are /dev/tee*, and TEE_IOC_VERSION tells which (1 OP-TEE, 2 AMD)."""
    found: dict[int, str] = {}
    for path in TEES:
        text = look.recording.text(f"call:tee-version {path}")
        kind = number(text)
        if text and kind is not None:
            found[kind] = path
    states = {path: look.device(path) for path in TEES}
    unread = any(
        states[path] is not State.ABSENT and look.recording.text(f"call:tee-version {path}") is None for path in TEES
    )
    tree = look.recording.at(f"file:{OPTEE_TREE}").outcome is Outcome.OK
    return [_op_tee(look, found, tree=tree, unread=unread), _amd_tee(look, found, unread=unread)]


def _op_tee(look: Look, found: dict[int, str], *, tree: bool, unread: bool) -> Fact:
    name = "tee.op-tee"
    if 1 in found:
        value, more = "", "evidence that the board is fused and boots only what was signed"
        board = (look.recording.text("file:/proc/device-tree/model") or "").replace("\0", " ")
        if "Raspberry Pi 3" in board or "QEMU" in board or "virt" in board.lower():
            value, more = "function, not secrecy: this board isolates nothing", "a board with fused secure boot"
        return look.fact(name, State.USABLE, value=value, how=f"{found[1]}: TEE_IOC_VERSION 1", more=more)
    if tree:
        return look.fact(
            name, State.PRESENT, how="device tree", more="membership in the group tee; tee-supplicant running"
        )
    if unread:
        return look.fact(name, State.UNKNOWN, how="a TEE device may not be opened, or is hidden", more="the group tee")
    return look.nothing(name, f"file:{OPTEE_TREE}", *_tee_keys(), devices=True)


def _tee_keys() -> list[str]:
    return [*(f"open:{path}" for path in TEES), *(f"call:tee-version {path}" for path in TEES), "folder:/dev"]


def _amd_tee(look: Look, found: dict[int, str], *, unread: bool) -> Fact:
    name, note = "tee.amd-tee", "nothing: only AMD's own applications run there"
    if 2 in found:
        return look.fact(name, State.ENABLED, how=f"{found[2]}: TEE_IOC_VERSION 2", more=note)
    if look.cpu and look.vendor != "amd":
        return look.nothing(name, CPUINFO, how="not an AMD processor")
    if unread:
        return look.fact(name, State.UNKNOWN, how="a TEE device may not be opened, or is hidden", more="the group tee")
    return look.nothing(name, CPUINFO, *_tee_keys(), devices=True)


def _opened(state: State) -> str:
    return "" if state is State.USABLE else "root, or the group that owns the device"
