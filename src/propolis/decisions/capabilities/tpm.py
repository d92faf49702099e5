"""The TPM: is there one, whose is it, chip or firmware or none at all, and is that one known to be bad."""

from collections.abc import Callable

from propolis.decisions.capabilities.look import Look, best, hexadecimal, number
from propolis.decisions.weaknesses import Version, Weakness, Weaknesses, concerns
from propolis.terms.finding import Fact, State
from propolis.terms.requirement import Adversary, Day

PROPERTIES = "call:tpm-properties"  # lines "PROPERTY VALUE", hexadecimal (TPM2_GetCapability, TPM_PT of Part 2)
DEVICE = "/dev/tpmrm0"
CLASS = "/sys/class/tpm"
VERSION = f"file:{CLASS}/tpm0/tpm_version_major"
_GROUP = "membership in the group that owns the device (often tss)"

DISCRETE, FIRMWARE, VIRTUAL, EMULATED, PLUTON = (
    "a chip of its own", "in the processor's firmware", "virtual: the host's word", "emulated: no hardware root", "Pluton",
)  # fmt: skip
KINDS = {
    "INTC": FIRMWARE, "AMD": FIRMWARE, "QCOM": FIRMWARE, "HISI": FIRMWARE,
    "IFX": DISCRETE, "STM": DISCRETE, "NTC": DISCRETE, "NTZ": DISCRETE, "ATML": DISCRETE, "WEC": DISCRETE, "SMSN": DISCRETE,
    "IBM": EMULATED, "VMW": VIRTUAL, "GOOG": VIRTUAL, "AMZN": VIRTUAL,
}  # fmt: skip
NAMES = {
    "INTC": "Intel PTT", "AMD": "AMD fTPM", "QCOM": "Qualcomm", "IFX": "Infineon", "STM": "STMicroelectronics", "NTC": "Nuvoton",
    "NTZ": "Nationz", "IBM": "IBM's software TPM (swtpm)", "MSFT": "Microsoft", "VMW": "VMware", "GOOG": "Google",
    "AMZN": "Amazon", "ATML": "Atmel", "WEC": "Winbond", "SMSN": "Samsung", "HISI": "HiSilicon",
}  # fmt: skip
PHYSICAL = frozenset((DISCRETE, FIRMWARE))
FOLLOWING = (
    "tpm.maker", "tpm.kind", "tpm.emulated", "tpm.firmware", "tpm.pluton", "tpm.known-bad", "tpm.known-physical",
)  # fmt: skip
PLUTON_VENDOR = "Pluton.TPM.A"  # fwupd's quirk: MSFT alone is also Hyper-V's and Azure's virtual TPM


def facts(look: Look, known: Weaknesses, *, guest: State) -> list[Fact]:
    """Return facts of Linux. `guest`: whether this is a virtual machine."""
    properties = told(look)
    maker, vendor = _text(properties.get(0x105)), "".join(_text(properties.get(0x106 + n)) for n in range(4))
    firmware = _firmware(properties)
    chip = _chip(look)
    model = number(look.cpu.get("model"))
    processor = (look.family, model) if look.family is not None and model is not None else None
    return [chip, *identity(look, chip, maker, vendor, firmware, guest, known, processor)]


def identity(
    look: Look, chip: Fact, maker: str, vendor: str, firmware: Version, guest: State, known: Weaknesses,
    processor: tuple[int, int] | None,
) -> list[Fact]:  # fmt: skip
    """Return what follows from a maker's name and a version, however they were asked for; the same on every system."""
    missing = _unasked(look, chip)
    if chip.state is State.ABSENT or not maker:
        return [missing(name) for name in FOLLOWING]
    how = "TPM2_GetCapability" if look.recording.system == "linux" else "the system's own tool"
    dotted = ".".join(str(part) for part in firmware)
    kind = kind_of(maker, vendor, guest)
    facts = [
        look.fact("tpm.maker", State.PRESENT, value=f"{NAMES.get(maker, 'not known')} ({maker})", how=how),
        look.fact(
            "tpm.kind", State.PRESENT if kind else State.UNKNOWN, value=kind, how="follows from the maker's name"
        ),
        look.fact("tpm.firmware", State.PRESENT if dotted else State.UNKNOWN, value=dotted, how=how),
        _pluton(look, maker, vendor, guest),
    ]
    emulated = State.UNKNOWN if not kind else State.PRESENT if kind == EMULATED else State.ABSENT
    facts.append(look.fact("tpm.emulated", emulated, how="follows from the maker's name, which an emulator may change"))
    for name, weak in (("tpm.known-bad", _by_software(known)), ("tpm.known-physical", _by_touch(known))):
        facts.append(_known_bad(look, name, maker, firmware, weak, known.date, processor))
    return facts


def _by_software(known: Weaknesses) -> list[Weakness]:
    return [each for each in known.weakness if each.by < Adversary.CHEAP_PHYSICAL]


def _by_touch(known: Weaknesses) -> list[Weakness]:
    return [each for each in known.weakness if each.by >= Adversary.CHEAP_PHYSICAL]


def told(look: Look) -> dict[int, int]:
    """Return the TPM's fixed properties, by their number."""
    found: dict[int, int] = {}
    for line in (look.recording.text(PROPERTIES) or "").split("\n")[:128]:
        left, _, right = line.strip().partition(" ")
        key, value = hexadecimal(left), hexadecimal(right.strip())
        if key is not None and value is not None and value < 2**32:
            found[key] = value
    return found


def kind_of(maker: str, vendor: str, guest: State) -> str:
    """Return the kind of TPM, or "" when a name does not tell it."""
    if maker == "MSFT":
        pluton = PLUTON_VENDOR in vendor and guest is State.ABSENT
        return PLUTON if pluton else VIRTUAL if guest is State.PRESENT else ""
    return KINDS.get(maker, "")


def _chip(look: Look) -> Fact:
    device, major = look.device(DEVICE), number(look.recording.text(VERSION))
    listed = State.ENABLED if any(look.names(CLASS)) else State.UNKNOWN
    more = "" if device is State.USABLE else _GROUP
    if major == 1:
        return look.fact(
            "tpm.chip", State.PRESENT, value="1.2", how="sysfs", more="a TPM 2.0: 1.2 counts for nothing here"
        )
    state = best(each for each in (device, listed) if each is not State.UNKNOWN)
    if state in (State.ENABLED, State.USABLE):
        value = f"{major}.0" if major else "2.0" if device in (State.ENABLED, State.USABLE) else ""
        return look.fact("tpm.chip", state, value=value, how=f"{DEVICE}, {CLASS}", more=more)
    keys = (f"folder:{CLASS}", f"open:{DEVICE}", "folder:/dev", VERSION)
    more = "a TPM in the firmware's settings (PTT, fTPM, or Security Device)"
    return look.nothing("tpm.chip", *keys, devices=True, how=f"no {DEVICE}, no {CLASS}", more=more)


def _firmware(properties: dict[int, int]) -> Version:
    first, second = properties.get(0x10B), properties.get(0x10C)
    if first is None:
        return ()
    later = (second >> 16, second & 0xFFFF) if second is not None else ()
    return (first >> 16, first & 0xFFFF, *later)


def _text(value: int | None) -> str:
    """Return the four characters in a property, without the padding."""
    raw = (value or 0).to_bytes(4, "big").strip(b"\0 ")
    return raw.decode("ascii") if raw.isascii() and raw.decode("ascii").isprintable() else ""


def _unasked(look: Look, chip: Fact) -> Callable[[str], Fact]:
    def missing(name: str) -> Fact:
        if chip.state is State.ABSENT:
            return look.fact(name, State.ABSENT, how="there is no TPM")
        return look.fact(name, State.UNKNOWN, how="only the TPM says, and it was not asked", more=_GROUP)

    return missing


def _pluton(look: Look, maker: str, vendor: str, guest: State) -> Fact:
    if maker == "MSFT" and PLUTON_VENDOR in vendor:
        if guest is State.ABSENT:
            return look.fact("tpm.pluton", State.ENABLED, how="maker and vendor string, and no virtual machine")
        return look.fact("tpm.pluton", State.UNKNOWN, how="says Pluton, but this may be a virtual machine")
    return look.fact(
        "tpm.pluton", State.UNKNOWN, how="not the TPM in use; there may be one that is not", more="firmware settings"
    )


def _known_bad(
    look: Look, name: str, maker: str, firmware: Version, weak: list[Weakness], date: Day, processor: tuple[int, int] | None,
) -> Fact:  # fmt: skip
    unsure, hits = False, []
    for each in weak:
        falls = concerns(each, maker, firmware, processor)
        unsure = unsure or falls is None
        hits += [each] if falls else []
    if hits:
        value = ", ".join(each.name for each in hits)
        more = "; ".join(dict.fromkeys(each.raises for each in hits))
        return look.fact(name, State.PRESENT, value=value, how="; ".join(each.because for each in hits), more=more)
    if unsure or not firmware or maker not in NAMES:
        return look.fact(name, State.UNKNOWN, how="maker, version or processor is not enough to look it up")
    return look.fact(name, State.ABSENT, how=f"not in the table of {date}")
