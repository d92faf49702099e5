"""What a probe asks of a machine, declared: nothing else is read, and no place that holds a serial number or a name is named.

Text that may carry such a thing passes a `keep` first, which lets through only the lines or words that are asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Keep = Callable[[str], str]


@dataclass(frozen=True)
class Command:
    """A command, and the seconds it may take. `partial`: what it prints counts whatever it returns."""

    words: tuple[str, ...]
    key: str = ""  # of the recording; default "command:" and the words
    seconds: float = 0.7
    partial: bool = False
    keep: Keep | None = None

    @property
    def name(self) -> str:
        """The key of the recording."""
        return self.key or "command:" + " ".join(self.words)


@dataclass(frozen=True)
class Leaves:
    """Files of these names in every folder of `folder` whose name has one of the beginnings; 256 at most."""

    folder: str
    begins: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All that is asked of one kind of system."""

    texts: tuple[str, ...] = ()
    kept: dict[str, Keep] = field(default_factory=dict)  # files of which only a part is recorded
    binaries: tuple[str, ...] = ()  # recorded as hexadecimal
    folders: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # names, of these beginnings; () = only whether it is there
    leaves: tuple[Leaves, ...] = ()
    devices: tuple[str, ...] = ()  # opened and closed
    calls: dict[str, Callable[[], str]] = field(default_factory=dict)  # an OSError says what was in the way
    commands: tuple[Command, ...] = ()
    seconds: float = 0.9  # all of it; what has not answered by then is late


def lines_with(*wanted: str) -> Keep:
    """Return a keep for the lines that begin with one of these words, blanks aside."""

    def keep(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if line.strip().startswith(wanted))

    return keep


def words_with(*wanted: str) -> Keep:
    """Return a keep for the words that begin with one of these."""

    def keep(text: str) -> str:
        return " ".join(word for word in text.split() if word.startswith(wanted))

    return keep


def processors(text: str) -> str:
    """Return the first and the last block of /proc/cpuinfo, and one line for each other: boards write a serial number there."""
    blocks = [_without_serial(block) for block in text.strip("\n").split("\n\n")]
    middle = [line for block in blocks[1:-1] for line in block.split("\n") if line.startswith("processor")]
    return "\n\n".join(["\n".join([blocks[0], *middle]), *blocks[1:][-1:]]) + "\n"


def _without_serial(block: str) -> str:
    return "\n".join(line for line in block.split("\n") if not line.lower().startswith("serial"))
