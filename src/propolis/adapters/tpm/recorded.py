"""The stand-in TPM: a recorded conversation, replayed. Same commands, same order, same bytes, or it is an error.

It runs where there is no TPM and no emulator: with chance handed in, a client repeats itself to the bit.
"""

from collections.abc import Sequence

from propolis.ports.tpm import TpmLine
from propolis.terms.errors import TpmError

Exchange = tuple[bytes, bytes]


class Recorder:
    """Passes everything to another line and keeps it."""

    def __init__(self, line: TpmLine) -> None:
        self._line = line
        self.exchanges: list[Exchange] = []

    @property
    def emulated(self) -> bool:
        """As the line behind it."""
        return self._line.emulated

    def transact(self, command: bytes) -> bytes:
        """Send, keep, return."""
        answer = self._line.transact(command)
        self.exchanges.append((command, answer))
        return answer

    def close(self) -> None:
        """Close the line behind it."""
        self._line.close()


class RecordedLine:
    """Replays exchanges. Raises TpmError where the conversation differs."""

    emulated = True

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._left = list(reversed(exchanges))
        self._open = True

    def transact(self, command: bytes) -> bytes:
        """Return what was answered to this command then."""
        if not self._open or not self._left:
            raise TpmError("the recorded TPM has nothing more to say")
        wanted, answer = self._left.pop()
        if command != wanted:
            raise TpmError("the recorded TPM was asked something else")
        return answer

    def close(self) -> None:
        """End; idempotent."""
        self._open = False
