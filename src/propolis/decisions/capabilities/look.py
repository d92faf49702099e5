"""How parsers read a recording: the questions they share, and the one rule of what may be concluded.

The rule (docs/specs/capabilities.md, step 2): `absent` needs every place it could be to have been looked at, and none of them
denied, late or hidden by a container. So taking permissions away turns nothing into `absent`.
"""

import re
from collections.abc import Iterable

from propolis.terms.finding import STEPS, Fact, State
from propolis.terms.recording import Outcome, Recording, Seen
from propolis.terms.text import one_line

MOST_VALUE = 120
MOST_WORDS = 300
ROOT_CPUID = "root would read CPUID itself"

CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
_NUMBER = re.compile(r"(?<![-0-9])[0-9]{1,18}(?![0-9])")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{1,16}")


class Look:
    """A recording, with what parsers ask of it."""

    __slots__ = ("cpu", "flags", "machine", "masked", "recording")

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.machine = recording.machine.lower()
        self.cpu = _first_block(recording.text("file:/proc/cpuinfo") or "")
        self.flags = frozenset((self.cpu.get("flags") or self.cpu.get("Features") or "").split())
        self.masked = self._masked()

    @property
    def x86(self) -> bool:
        """Whether the kernel says it runs on x86."""
        return self.machine in ("x86_64", "amd64", "i386", "i586", "i686")

    @property
    def vendor(self) -> str:
        """Return "intel", "amd", or "" (another, or not told)."""
        return {"GenuineIntel": "intel", "AuthenticAMD": "amd"}.get(self.cpu.get("vendor_id", ""), "")

    @property
    def family(self) -> int | None:
        """Return the x86 family."""
        return number(self.cpu.get("cpu family"))

    def fact(self, name: str, state: State, value: str = "", how: str = "", more: str = "") -> Fact:
        """Return a fact of this recording, its words bounded and without control characters."""
        when = self.recording.taken
        return Fact(
            name=name, state=state, value=words(value, MOST_VALUE), how=words(how), when=when, more=words(more)
        )  # fmt: skip

    def answered(self, *keys: str) -> bool:
        """Return whether each question got an answer: a text, or that there is no such thing."""
        return all(self.recording.at(key).outcome in (Outcome.OK, Outcome.MISSING) for key in keys)

    def nothing(self, name: str, *keys: str, devices: bool = False, how: str = "", more: str = "") -> Fact:
        """Return `absent` where all of `keys` were answered, else `unknown` with what was in the way.

        `devices`: a container would hide it.
        """
        for key in keys:
            outcome = self.recording.at(key).outcome
            if outcome not in (Outcome.OK, Outcome.MISSING):
                return self.fact(name, State.UNKNOWN, how=f"{_in_words(key)}: {outcome}", more=more)
        if devices and self.masked:
            return self.fact(name, State.UNKNOWN, how="a container hides devices", more="look outside the container")
        more = "" if more.startswith("root would") else more  # it was asked, or nothing is left to ask
        return self.fact(name, State.ABSENT, how=how or ", ".join(_in_words(key) for key in keys), more=more)

    def device(self, path: str) -> State:
        """Return how far a device node is there: usable when it opened, enabled when it is listed."""
        if self.recording.at(f"open:{path}").outcome is Outcome.OK:
            return State.USABLE
        folder, _, name = path.rpartition("/")
        listed = self.names(folder)
        if name in listed:
            return State.ENABLED
        if self.answered(f"open:{path}", f"folder:{folder}") and not self.masked:
            return State.ABSENT
        return State.UNKNOWN

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; empty when it is not there or not told."""
        return (self.recording.text(f"folder:{folder}") or "").split("\n")[:1024]

    def flag(self, name: str) -> bool:
        """Return whether the kernel shows a processor flag."""
        return name in self.flags

    def yes(self, path: str) -> bool:
        """Return whether a switch in /sys or /proc is on."""
        return (self.recording.text(f"file:{path}") or "").lower() in ("y", "1", "yes", "on", "enabled")

    def cpuid(self, leaf: int, sub: int = 0) -> tuple[int, int, int, int] | None:
        """Return EAX, EBX, ECX, EDX as root read them."""
        found = [hexadecimal(part) for part in (self.recording.text(cpuid_key(leaf, sub)) or "").split()]
        return (found[0] or 0, found[1] or 0, found[2] or 0, found[3] or 0) if len(found) == 4 else None

    def msr(self, register: int) -> int | None:
        """Return a model-specific register as root read it."""
        return hexadecimal(self.recording.text(msr_key(register)))

    def command(self, line: str) -> str | None:
        """Return what a command printed, or None."""
        return self.recording.text(f"command:{line}")

    def _masked(self) -> bool:
        """Return whether a container may hide devices: one is seen, or it was not possible to see that there is none."""
        keys = [f"file:{path}" for path in CONTAINER_FILES]
        if any(self.recording.at(key).outcome is Outcome.OK for key in keys):
            return True
        spoken = self.command("systemd-detect-virt --container")
        namespace = self.recording.text("call:pid-namespace")
        if namespace == "another" or (spoken or "none") not in ("none", "wsl"):
            return True
        return namespace != "first" or not self.answered(*keys, "command:systemd-detect-virt --container")


def cpuid_key(leaf: int, sub: int = 0) -> str:
    """Return the key of a CPUID leaf, as root reads it."""
    return f"call:cpuid {leaf:#x} {sub:#x}"


def msr_key(register: int) -> str:
    """Return the key of a model-specific register, as root reads it."""
    return f"call:msr {register:#x}"


def best(states: Iterable[State]) -> State:
    """Return the state that claims most; `absent` only when all are."""
    found = list(states)
    claims = [state for state in found if state in STEPS]
    if claims:
        return max(claims, key=lambda state: STEPS[state])
    return State.ABSENT if found and all(state is State.ABSENT for state in found) else State.UNKNOWN


def number(text: str | None) -> int | None:
    """Return the first whole number in a text."""
    match = _NUMBER.search(text or "")
    return int(match[0]) if match else None


def hexadecimal(text: str | None) -> int | None:
    """Return a hexadecimal number that is the whole text."""
    return int(text, 16) if text and _HEX.fullmatch(text) else None


def words(text: str, most: int = MOST_WORDS) -> str:
    """Return one bounded line."""
    return one_line(" ".join(text.split()))[:most]


def pairs(text: str) -> dict[str, str]:
    """Return `name: value` lines as a dict; the first of each name counts, leading dashes are decoration."""
    found: dict[str, str] = {}
    for line in text.split("\n")[:1000]:
        name, colon, value = line.strip().lstrip("-").partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def ok(seen: Seen) -> bool:
    """Return whether a question got a whole answer."""
    return seen.outcome is Outcome.OK


def _first_block(text: str) -> dict[str, str]:
    """Return the first processor of /proc/cpuinfo; on Arm boards the model stands at the end."""
    first = pairs(text.split("\n\n", 1)[0])
    last = pairs(text.rsplit("\n\n", 1)[-1])
    return {**{name: last[name] for name in ("Model", "Hardware") if name in last}, **first}


def _in_words(key: str) -> str:
    return key.partition(":")[2] or key
