"""The line to a TPM: one command out, one response in, one writer at a time.

Every implementation passes `propolis.testing.tpm`. Calls block; who must not wait calls from a thread.
"""

from typing import Protocol


class TpmLine(Protocol):
    """An open, exclusive line."""

    @property
    def emulated(self) -> bool:
        """Whether what answers is known to be no chip. False says nothing: only evidence shows a hardware root."""
        ...

    def transact(self, command: bytes) -> bytes:
        """Send one command and return its whole response. Raises TpmError; the line is unusable after that."""
        ...

    def close(self) -> None:
        """Give the TPM back; idempotent."""
        ...
