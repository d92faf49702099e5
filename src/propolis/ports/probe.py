"""What the house asks of a probe: one look at this machine, within a bound, without root and without a network."""

from typing import Protocol

from propolis.terms.recording import Recording


class Probe(Protocol):
    """Records; judges nothing (decisions/capabilities does)."""

    def record(self) -> Recording:
        """Return what is seen now. Never raises for what the machine lacks, denies or delays: that is recorded."""
        ...
