"""The processor and the system that runs on it."""

import re

from propolis.decisions.capabilities.look import Look, number, pairs
from propolis.terms.finding import Fact, State

_RELEASE = re.compile(r"^([0-9]{1,3})\.([0-9]{1,4})")


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_name(look), _kernel(look), _model(look), _cores(look), _microcode(look)]


def kernel_version(look: Look) -> tuple[int, int] | None:
    """Return the kernel's major and minor number."""
    match = _RELEASE.match(look.recording.text("file:/proc/sys/kernel/osrelease") or "")
    return (int(match[1]), int(match[2])) if match else None


def _name(look: Look) -> Fact:
    text = look.recording.text("file:/etc/os-release") or ""
    found = {line.partition("=")[0]: line.partition("=")[2].strip('"') for line in text.split("\n")[:100]}
    name = found.get("PRETTY_NAME") or found.get("NAME", "")
    state = State.PRESENT if name else State.UNKNOWN
    return look.fact("system.name", state, value=name, how="/etc/os-release")


def _kernel(look: Look) -> Fact:
    release = look.recording.text("file:/proc/sys/kernel/osrelease")
    state = State.PRESENT if release else State.UNKNOWN
    return look.fact("system.kernel", state, value=f"Linux {release}" if release else "", how="kernel.osrelease")


def _model(look: Look) -> Fact:
    tree = (look.recording.text("file:/proc/device-tree/model") or "").replace("\0", " ")
    named = look.cpu.get("model name") or look.cpu.get("Model") or look.cpu.get("Hardware") or tree
    value = named or ("Arm, implementer " + look.cpu["CPU implementer"] if "CPU implementer" in look.cpu else "")
    return look.fact("processor.model", State.PRESENT if value else State.UNKNOWN, value=value, how="/proc/cpuinfo")


def _cores(look: Look) -> Fact:
    text = look.recording.text("file:/proc/cpuinfo") or ""
    count = sum(line.startswith("processor") for line in text.split("\n"))
    online = look.recording.text("file:/sys/devices/system/cpu/online") or ""
    listed = _in_ranges(online)
    count = listed or count  # cpuinfo is filtered by some containers; the range is the kernel's
    state = State.PRESENT if count else State.UNKNOWN
    return look.fact("processor.cores", state, value=str(count) if count else "", how="cpu/online, /proc/cpuinfo")


def _in_ranges(text: str) -> int:
    """Return how many numbers "0-3,8" names; 0 when it is not such a list."""
    total = 0
    for part in text.split(",")[:256]:
        low, _, high = part.partition("-")
        first, last = number(low), number(high or low)
        if first is None or last is None or last < first or last > 65_535:
            return 0
        total += last - first + 1
    return total


def _microcode(look: Look) -> Fact:
    value = look.cpu.get("microcode", "")
    if value:
        return look.fact("processor.microcode", State.PRESENT, value=value, how="/proc/cpuinfo")
    return look.nothing("processor.microcode", "file:/proc/cpuinfo", how="not shown on this processor")


def memory_kb(look: Look) -> int | None:
    """Return the memory the kernel has, in KiB."""
    return number(pairs(look.recording.text("file:/proc/meminfo") or "").get("MemTotal"))
