"""Storage: room, and whether what is written to disk is readable to who takes the disk."""

from propolis.decisions.capabilities.look import Look, number
from propolis.terms.finding import Fact, State

ROOT_CHAIN = "call:chain-root"
SWAP_CHAIN = "call:chain-swap"
_PLAIN_KINDS = ("ext4", "ext3", "xfs", "btrfs", "f2fs", "vfat")


def facts(look: Look) -> list[Fact]:
    """Return facts of Linux."""
    return [_space(look), _encryption(look), _swap(look)]


def _space(look: Look) -> Fact:
    free = number(look.recording.text("call:free-mb"))
    state = State.UNKNOWN if free is None else State.PRESENT
    return look.fact("storage.space", state, value=f"{free} MB" if free is not None else "", how="statvfs of the root")


def _layers(text: str) -> list[tuple[str, str]]:
    """Return (kind, device-mapper prefix) of each layer of a chain, top first."""
    return [(line.split(" ")[0], line.partition(" ")[2]) for line in text.split("\n")[:64] if line]


def _encryption(look: Look) -> Fact:
    name, chain = "storage.encryption", look.recording.text(ROOT_CHAIN)
    layers = _layers(chain or "")
    how = "the block devices under /"
    if any(prefix.startswith("CRYPT-") for _, prefix in layers):
        value = "LUKS" if any("LUKS" in prefix for _, prefix in layers) else "dm-crypt"
        return look.fact(name, State.ENABLED, value=value, how=how)
    whole = layers and layers[-1][0] == "disk"
    top = layers[0][1] if layers else ""
    if whole and top in _PLAIN_KINDS and not look.masked:
        return look.fact(
            name, State.ABSENT, how=f"{how}: {top} with nothing encrypted below", more="LUKS, at installation"
        )
    reason = (
        "a container hides devices" if look.masked else f"{how}: not told, or a file system that may encrypt by itself"
    )
    return look.fact(name, State.UNKNOWN, how=reason, more="root could follow the devices")


def _swap(look: Look) -> Fact:
    name, text = "storage.swap", look.recording.text("file:/proc/swaps")
    if text is None:
        return look.nothing(name, "file:/proc/swaps")
    areas = [line.split()[0] for line in text.split("\n")[1:] if line.split()]
    if not areas:
        return look.nothing(name, "file:/proc/swaps", how="/proc/swaps is empty: no memory is written to disk")
    if all(area.startswith("/dev/zram") for area in areas):
        return look.fact(name, State.ENABLED, value="in compressed memory", how="/proc/swaps: zram only")
    chains = look.recording.text(SWAP_CHAIN) or ""
    crypt = [any(p.startswith("CRYPT-") for _, p in _layers(part)) for part in chains.split("\n\n") if part.strip()]
    if len(crypt) >= len(areas) and all(crypt):
        return look.fact(name, State.ENABLED, value="encrypted", how="the block devices under swap")
    more = "encrypted swap, or none"
    value = "in clear" if chains else "encryption not told"
    return look.fact(
        name, State.ENABLED, value=value, how="/proc/swaps: a guest's memory may be written there", more=more
    )
