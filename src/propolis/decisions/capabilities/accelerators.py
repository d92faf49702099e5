"""Accelerators: graphics and neural processors, and whether NVIDIA's confidential computing is on."""

from propolis.decisions.capabilities.look import Look
from propolis.terms.finding import Fact, State
from propolis.terms.recording import Outcome

NVIDIA_LIST = "nvidia-smi --query-gpu=name,memory.total --format=csv,noheader"
NVIDIA_CC = "nvidia-smi conf-compute -f"
MAKERS = {
    "0x10de": "NVIDIA",
    "0x1002": "AMD",
    "0x8086": "Intel",
    "0x1a03": "ASPEED",
    "0x1af4": "virtio",
    "0x1234": "QEMU",
}
_SHOWN = 6
_PCI = "file:/sys/bus/pci/devices/"


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_gpu(look), _npu(look), _nvidia(look)]


def _gpu(look: Look) -> Fact:
    name, smi = "accelerator.gpu", look.command(NVIDIA_LIST)
    if smi:
        return look.fact(name, State.USABLE, value="; ".join(smi.split("\n")[:_SHOWN]), how="nvidia-smi")
    found = _displays(look)
    if found:
        usable = any(state is State.USABLE for state in map(look.device, _nodes(look)))
        state = State.USABLE if usable else State.PRESENT
        return look.fact(name, state, value=", ".join(found[:_SHOWN]), how="PCI class 03", more=_driver(found))
    return look.nothing(name, *_asked(look), f"command:{NVIDIA_LIST}", "folder:/dev/dri", devices=True)


def _displays(look: Look) -> list[str]:
    """Return the makers of what has PCI class 03 (display) or 0x1200 (accelerator)."""
    makers = []
    for key, seen in look.recording.begins(_PCI):
        if key.endswith("/class") and seen.text.strip().startswith(("0x03", "0x1200")):
            maker = look.recording.text(key.removesuffix("class") + "vendor") or ""
            makers.append(MAKERS.get(maker, f"maker {maker or 'not told'}"))
    return makers


def _nodes(look: Look) -> list[str]:
    return [f"/dev/dri/{node}" for node in look.names("/dev/dri") if node.startswith("renderD")]


def _driver(found: list[str]) -> str:
    return "NVIDIA's driver would make it usable" if "NVIDIA" in found else ""


def _npu(look: Look) -> Fact:
    listed = [node for node in look.names("/sys/class/accel") if node]
    if listed:
        return look.fact("accelerator.npu", State.ENABLED, value=f"{len(listed)}", how="/sys/class/accel")
    return look.nothing("accelerator.npu", "folder:/sys/class/accel", devices=True)


def _nvidia(look: Look) -> Fact:
    name, said = "accelerator.nvidia-cc", look.command(NVIDIA_CC)
    more = "a data-centre GPU of the Hopper or Blackwell family inside a confidential VM"
    if said is not None:
        lowered = said.lower()
        if "on" in lowered.replace(":", " ").split():
            return look.fact(name, State.ENABLED, value=said, how=NVIDIA_CC)
        if "off" in lowered.replace(":", " ").split():
            return look.fact(name, State.PRESENT, value=said, how=NVIDIA_CC, more="the host switches it on")
        return look.fact(name, State.UNKNOWN, how=f"{NVIDIA_CC} said something else", more=more)
    if look.recording.at(f"command:{NVIDIA_CC}").outcome is Outcome.FAILED and _gpu(look).found:
        return look.fact(
            name, State.UNKNOWN, how=f"{NVIDIA_CC} failed: the GPU or its driver has no such mode", more=more
        )
    if "NVIDIA" in _displays(look):
        return look.fact(name, State.UNKNOWN, how="no nvidia-smi to ask", more="NVIDIA's driver")
    return look.nothing(name, *_asked(look), f"command:{NVIDIA_CC}", devices=True, more=more)


def _asked(look: Look) -> list[str]:
    """Return the questions that have to be answered before there is no such processor on the bus."""
    return ["folder:/sys/bus/pci/devices", *(key for key, _ in look.recording.begins(_PCI))]
