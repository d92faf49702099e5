"""What a machine says that cannot all be true: a forged or a broken tree. Each is said; none is decided in the machine's favour.

Not proof of anything: a careful forger contradicts itself nowhere (docs/specs/capabilities.md, step 4).
"""

from collections.abc import Callable, Iterator

from propolis.decisions.capabilities import tpm, virtualisation, windows
from propolis.decisions.capabilities.firmware import SECURE_BOOT, SETUP_MODE, variable
from propolis.decisions.capabilities.isolation import LANDLOCK, MOST_ABI
from propolis.decisions.capabilities.look import Look, best, number, pairs, words
from propolis.decisions.capabilities.processor import kernel_version, memory_kb
from propolis.terms.finding import MOST_CONTRADICTIONS, STEPS, Contradiction, Fact, State
from propolis.terms.recording import Outcome

Facts = dict[str, Fact]
Said = Iterator[Contradiction]

X86_FLAGS = {
    "sev": "tee.sev", "sev_es": "tee.sev-es", "sev_snp": "tee.sev-snp", "sme": "memory.sme", "sgx": "tee.sgx",
    "tme": "memory.tme", "tdx_guest": "tee.tdx-guest", "tdx_host_platform": "tee.tdx",
}  # fmt: skip
AMD_ONLY = (
    "tee.sev",
    "tee.sev-es",
    "tee.sev-snp",
    "tee.sev-guest",
    "tee.snp-guest",
    "memory.sme",
    "memory.tsme",
    "tee.amd-tee",
)
INTEL_ONLY = ("tee.sgx", "tee.sgx-attestation", "tee.tdx", "tee.tdx-guest", "memory.tme")
GUESTS = ("tee.sev-guest", "tee.snp-guest", "tee.tdx-guest", "tee.cca-guest", "tee.nitro-enclave")
LANDLOCK_SINCE, TDX_GUEST_SINCE = (5, 13), (6, 2)


def found(look: Look, facts: Facts) -> tuple[Contradiction, ...]:
    """Return every contradiction, at most MOST_CONTRADICTIONS."""
    said = [each for rule in RULES for each in rule(look, facts)]
    return tuple(said[:MOST_CONTRADICTIONS])


def _say(text: str, *facts: str) -> Contradiction:
    return Contradiction(facts=facts, says=words(text))


def _claimed(facts: Facts, *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if facts[name].found)


def _architecture(look: Look, facts: Facts) -> Said:
    if look.x86:
        arm = _claimed(facts, "tee.cca-guest", "tee.op-tee")
        if arm:
            yield _say(f"the kernel runs on {look.machine}, and claims what only Arm has", *arm)
    elif look.recording.system == "linux" and look.machine:
        names = tuple(fact for flag, fact in X86_FLAGS.items() if look.flag(flag))
        if names or look.vendor:
            claims = names or tuple(X86_FLAGS.values())
            yield _say(f"the kernel runs on {look.machine}, and its processor claims what only x86 has", *claims)
        arm = _claimed(facts, *AMD_ONLY, *INTEL_ONLY)
        if arm and not names and not look.vendor:
            yield _say(f"the kernel runs on {look.machine}, and shows devices that only x86 has", *arm)


def _vendor(look: Look, facts: Facts) -> Said:
    for vendor, names in (("intel", AMD_ONLY), ("amd", INTEL_ONLY)):
        claims = _claimed(facts, *names) if look.vendor == vendor else ()
        if claims:
            yield _say(
                f"the processor is of {look.cpu.get('vendor_id')}, and claims what only another maker has", *claims
            )


def _ladder(look: Look, facts: Facts) -> Said:
    """SEV-ES rests on SEV, SEV-SNP on SEV-ES: in the processor's bits, and in what KVM has switched on."""
    for low, high, lower, higher in (
        ("sev", "sev_es", "tee.sev", "tee.sev-es"), ("sev_es", "sev_snp", "tee.sev-es", "tee.sev-snp"),
    ):  # fmt: skip
        path = "/sys/module/kvm_amd/parameters"
        switched = look.yes(f"{path}/{high}") and look.recording.text(f"file:{path}/{low}") in ("N", "0")
        if (look.flag(high) and not look.flag(low)) or switched:
            yield _say(f"{high} without {low}, on which it rests", lower, higher)
    for flag, switch, name in (
        ("sev", "sev", "tee.sev"),
        ("sev_es", "sev_es", "tee.sev-es"),
        ("sev_snp", "sev_snp", "tee.sev-snp"),
    ):
        leaf = look.cpuid(0x8000001F)
        if look.yes(f"/sys/module/kvm_amd/parameters/{switch}") and look.cpu and not look.flag(flag) and leaf is None:
            yield _say(f"KVM says {switch} is on, and the processor does not show it", name)


def _guest(look: Look, facts: Facts) -> Said:
    told = virtualisation.witnesses(look)
    families = set(told.values())
    if len(families) > 1 and not families <= virtualisation.ON_KVM and not _dressed(told):
        yield _say(
            "two hypervisors: " + ", ".join(f"{place} says {who}" for place, who in told.items()), "virtual.guest"
        )
    named = told and not look.flag("hypervisor")
    if named and look.x86 and look.cpu and look.recording.system == "linux":
        yield _say(f"{', '.join(told)}: a virtual machine; the processor: none", "virtual.guest")
    if look.flag("hypervisor") and look.recording.text(virtualisation.DETECT_VM) == "none":
        yield _say("the processor: a virtual machine; systemd-detect-virt: none", "virtual.guest")


def _dressed(told: dict[str, str]) -> bool:
    """KVM may speak Hyper-V's language to its guests, by CPUID alone."""
    return (
        told.get("CPUID") == "microsoft"
        and {who for place, who in told.items() if place != "CPUID"} <= virtualisation.ON_KVM
    )


def _inside(look: Look, facts: Facts) -> Said:
    claims = _claimed(facts, *GUESTS)
    sev = {"tee.sev-guest", "tee.snp-guest"}
    if len(set(claims) - sev) + bool(set(claims) & sev) > 1:
        yield _say("inside two kinds of confidential machine at once", *claims)
    if claims and facts["virtual.guest"].state is State.ABSENT:
        yield _say("inside a confidential virtual machine, and in no virtual machine", "virtual.guest", *claims)


def _devices(look: Look, facts: Facts) -> Said:
    """A flag without its device, a device without its flag."""
    kernel = kernel_version(look) or (0, 0)
    device = look.device("/dev/tdx_guest")
    if look.flag("tdx_guest") and device is State.ABSENT and kernel >= TDX_GUEST_SINCE:
        yield _say("the processor says TDX guest, and there is no /dev/tdx_guest to ask", "tee.tdx-guest")
    if device in STEPS and look.cpu and not look.flag("tdx_guest"):
        yield _say("there is /dev/tdx_guest, and the processor does not say TDX guest", "tee.tdx-guest")
    spoken = look.recording.text("command:systemd-detect-virt --cvm")
    if spoken == "sev-snp" and look.device("/dev/sev-guest") is State.ABSENT and kernel >= (5, 19):
        yield _say("systemd-detect-virt says SEV-SNP, and there is no /dev/sev-guest to ask", "tee.snp-guest")
    if look.device("/dev/sgx_enclave") in STEPS and look.cpu and not look.flag("sgx"):
        yield _say("there is /dev/sgx_enclave, and the processor does not say SGX", "tee.sgx", "tee.sgx-attestation")
    able = not look.x86 or not look.cpu or look.flag("vmx") or look.flag("svm")
    lent = facts["virtual.guest"].state is State.PRESENT  # some hosts lend nested KVM without the flag
    if look.device("/dev/kvm") in STEPS and not able and not lent:
        yield _say("there is /dev/kvm, and the processor cannot virtualise", "virtual.host")


def _tpm(look: Look, facts: Facts) -> Said:
    kind, guest, maker = facts["tpm.kind"], facts["virtual.guest"].state, facts["tpm.maker"].value
    names = ("tpm.kind", "tpm.maker")
    if guest is State.PRESENT and kind.value in tpm.PHYSICAL:
        yield _say("a virtual machine with a physical TPM: passed through, or made up; the host decides", *names)
    if guest is State.ABSENT and kind.value == tpm.VIRTUAL:
        yield _say("a virtual TPM in no virtual machine", *names)
    for vendor, code in (("intel", "(AMD)"), ("amd", "(INTC)")):
        if look.vendor == vendor and code in maker:
            yield _say(f"a firmware TPM of another maker than the processor's: {maker}", *names)
    if facts["tpm.chip"].state is State.ABSENT and tpm.told(look):
        yield _say("a TPM answers, and there is no TPM", "tpm.chip", *names)
    major = number(look.recording.text(tpm.VERSION))
    family = tpm.told(look).get(0x100)
    if (major is not None and major not in (1, 2)) or (family is not None and family != 0x322E3000):
        yield _say(
            f"a TPM of a version there is none of: {major if family is None else hex(family)}", "tpm.chip", *names
        )
    if major == 1 and tpm.told(look):
        yield _say("a TPM 1.2 that answers TPM 2.0 commands", "tpm.chip", *names)


def _versions(look: Look, facts: Facts) -> Said:
    abi, kernel = number(look.recording.text(LANDLOCK)), kernel_version(look)
    if abi is not None and (abi > MOST_ABI or (abi and kernel and kernel < LANDLOCK_SINCE)):
        yield _say(f"Landlock ABI {abi} on Linux {_dotted(kernel)}", "isolation.landlock")
    if facts["tee.tdx-guest"].found and kernel and kernel < (5, 19):
        yield _say(f"a TDX guest on Linux {_dotted(kernel)}, which cannot be one", "tee.tdx-guest")
    if facts["tee.report"].found and kernel and kernel < (6, 7):
        yield _say(f"configfs-tsm on Linux {_dotted(kernel)}", "tee.report")
    if memory_kb(look) == 0:
        yield _say("a machine without memory", "memory.size")


def _dotted(kernel: tuple[int, int] | None) -> str:
    return "of no version" if kernel is None else f"{kernel[0]}.{kernel[1]}"


def _boot(look: Look, facts: Facts) -> Said:
    on, setup = variable(look, SECURE_BOOT), variable(look, SETUP_MODE)
    if on == 1 and setup == 1:
        yield _say("Secure Boot is on, in setup mode: it refuses nothing", "firmware.secure-boot")
    if on is not None and look.recording.at("folder:/sys/firmware/efi").outcome is Outcome.MISSING:
        yield _say("an EFI variable without EFI", "firmware.secure-boot", "firmware.uefi")
    if on is not None and on > 1:
        yield _say(f"Secure Boot is {on}, which is neither on nor off", "firmware.secure-boot")


def _memory(look: Look, facts: Facts) -> Said:
    claims = _claimed(facts, "memory.tme", "memory.sme")
    if len(claims) == 2:
        yield _say("memory encryption of two makers at once", *claims)


def _apple(look: Look, facts: Facts) -> Said:
    if look.recording.system != "darwin":
        return
    arm = facts["tee.secure-enclave"].value == "Apple silicon"
    intel = "intel" in facts["processor.model"].value.lower() or look.x86
    if arm and intel and "Apple" not in facts["processor.model"].value:
        yield _say(
            "Apple silicon with a processor of Intel's", "tee.secure-enclave", "processor.model", "firmware.iommu"
        )
    if best([facts["tee.secure-enclave"].state]) in STEPS and facts["virtual.guest"].state is State.PRESENT:
        yield _say("a Secure Enclave in a virtual machine: at best the host's", "tee.secure-enclave")


def _windows(look: Look, facts: Facts) -> Said:
    if look.recording.system != "windows":
        return
    guard = windows.record(look, windows.GUARD)
    offered, running = guard.get("AvailableSecurityProperties"), guard.get("SecurityServicesRunning")
    if facts["tee.vbs"].state is State.ENABLED and isinstance(offered, list) and 1 not in offered:
        yield _say("VBS runs, and no hypervisor is available to it", "tee.vbs", "tee.vbs-enclave")
    services = [each for each in running if each] if isinstance(running, list) else []
    if services and facts["tee.vbs"].state is State.PRESENT:
        yield _say("VBS is off, and its services run", "tee.vbs", "tee.vbs-enclave")
    told = pairs(look.command("tpmtool getdeviceinformation") or "")
    if told.get("TPM Present", "").lower() == "false" and told.get("TPM Manufacturer ID"):
        yield _say("no TPM, and its maker's name", "tpm.chip", "tpm.maker", "tpm.kind")
    cpu = windows.record(look, windows.PROCESSOR).get("Manufacturer")
    for vendor, code in (("GenuineIntel", "(AMD)"), ("AuthenticAMD", "(INTC)")):
        if cpu == vendor and code in facts["tpm.maker"].value:
            yield _say(
                f"a firmware TPM of another maker than the processor's: {facts['tpm.maker'].value}",
                "tpm.maker",
                "tpm.kind",
            )


RULES: tuple[Callable[[Look, Facts], Said], ...] = (
    _architecture, _vendor, _ladder, _guest, _inside, _devices, _tpm, _versions, _boot, _memory, _apple, _windows,
)  # fmt: skip
