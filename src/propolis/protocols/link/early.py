"""Packets that came before their turn: kept once each, within a count and a number of bytes; what is not kept comes again."""

import itertools

from propolis.messages.envelope import Packet
from propolis.protocols.link.terms import LinkConfig

MAX_MISSING = 32


class Early:
    """What waits for what is missing (docs/specs/link.md, rule 1)."""

    __slots__ = ("_bytes", "_config", "_held")

    def __init__(self, config: LinkConfig) -> None:
        self._config = config
        self._held: dict[int, Packet] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, packet: Packet, taken: int) -> None:
        """Keep a packet, if its number is within the window and its bytes within the bound."""
        seq, size = packet.envelope.seq, sum(packet.envelope.sizes)
        if seq in self._held or seq > taken + self._config.window_packets:
            return
        if self._bytes + size <= self._config.held_bytes:
            self._held[seq] = packet
            self._bytes += size

    def after(self, taken: int) -> list[Packet]:
        """Return, and keep no longer, the packets that follow `taken` without a gap."""
        ready: list[Packet] = []
        while (packet := self._held.pop(taken + len(ready) + 1, None)) is not None:
            ready.append(packet)
            self._bytes -= sum(packet.envelope.sizes)
        return ready

    def missing(self, taken: int) -> tuple[int, ...]:
        """Return the first numbers after `taken` that did not come though a later one did."""
        if not self._held:
            return ()
        lacking = (seq for seq in range(taken + 1, max(self._held)) if seq not in self._held)
        return tuple(itertools.islice(lacking, MAX_MISSING))

    def check(self) -> None:
        """Assert the bounds."""
        assert self._bytes == sum(sum(packet.envelope.sizes) for packet in self._held.values())
        assert self._bytes <= self._config.held_bytes
        assert len(self._held) <= self._config.window_packets
