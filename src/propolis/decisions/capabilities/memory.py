"""Memory: how much, and whether what lies in the DIMMs is encrypted. Encryption of memory keeps nothing from software."""

from propolis.decisions.capabilities.look import ROOT_CPUID, Look, cpuid_key, words
from propolis.decisions.capabilities.processor import memory_kb
from propolis.terms.finding import Fact, State

CPUINFO = "file:/proc/cpuinfo"
SYSCFG = 0xC0010010  # AMD: bit 23 switches SME on
TME_ACTIVATE = 0x982  # Intel: bit 0 locked, bit 1 on
_SETTING = "a firmware setting"


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_size(look), _tme(look), _sme(look), _tsme(look)]


def _size(look: Look) -> Fact:
    kb = memory_kb(look)
    state = State.UNKNOWN if kb is None else State.PRESENT
    return look.fact("memory.size", state, value=f"{kb // 1024} MB" if kb is not None else "", how="/proc/meminfo")


def _tme(look: Look) -> Fact:
    name, leaf = "memory.tme", look.cpuid(7)
    if look.vendor != "intel" and not look.flag("tme"):
        return look.nothing(name, CPUINFO, how="not an Intel processor") if look.cpu else look.nothing(name, CPUINFO)
    if not look.flag("tme") and not (leaf and leaf[2] >> 13 & 1):
        return look.nothing(name, CPUINFO, cpuid_key(7), more=ROOT_CPUID)
    register = look.msr(TME_ACTIVATE)
    if register is None:
        return look.fact(
            name,
            State.PRESENT,
            how="processor flag; whether it is on is in MSR 0x982",
            more=f"root with the msr module would say whether it is on; {_SETTING} switches it",
        )
    on = register & 3 == 3
    return look.fact(
        name, State.ENABLED if on else State.PRESENT, how="MSR 0x982", more="" if on else f"{_SETTING} switches it on"
    )


def _sme(look: Look) -> Fact:
    name, leaf = "memory.sme", look.cpuid(0x8000001F)
    if look.vendor != "amd" and not look.flag("sme"):
        return look.nothing(name, CPUINFO, how="not an AMD processor") if look.cpu else look.nothing(name, CPUINFO)
    if not look.flag("sme") and not (leaf and leaf[0] & 1):
        return look.nothing(name, CPUINFO, cpuid_key(0x8000001F), more=ROOT_CPUID)
    register, line = look.msr(SYSCFG), look.recording.text("call:kernel-line") or ""
    if register is None:
        hint = "asked for on the kernel's line; " if "mem_encrypt=on" in line.split() else ""
        more = "root with the msr module would say whether it is on; mem_encrypt=on asks for it"
        return look.fact(name, State.PRESENT, how=f"{hint}processor flag", more=more)
    on = bool(register >> 23 & 1)
    more = "" if on else "the kernel's option mem_encrypt=on, and a firmware setting"
    return look.fact(name, State.ENABLED if on else State.PRESENT, how=words(f"MSR {SYSCFG:#x}"), more=more)


def _tsme(look: Look) -> Fact:
    name, status = "memory.tsme", look.recording.begins("file:/sys/bus/pci/drivers/ccp/")
    said = [seen.text.strip() for key, seen in status if key.endswith("/tsme_status") and seen.text]
    if any(text == "1" for text in said):
        return look.fact(
            name, State.ENABLED, how="ccp tsme_status; a firmware update may change it, so asked each time"
        )
    more = "a firmware setting named TSME or Transparent SME"
    if said:
        return look.fact(name, State.PRESENT, how="ccp tsme_status says off", more=more)
    if look.vendor != "amd":
        return look.nothing(name, CPUINFO, how="not an AMD processor") if look.cpu else look.nothing(name, CPUINFO)
    return look.fact(name, State.UNKNOWN, how="the ccp driver shows no tsme_status", more=more)
