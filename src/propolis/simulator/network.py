"""The link model: who can reach whom, how long it takes, what gets lost. Chance comes from the run's seed alone."""

import random

import msgspec

from propolis.terms.identity import NodeId


class LinkModel(msgspec.Struct, frozen=True, kw_only=True):
    """Delays in seconds, loss as a probability per packet, bandwidth in bytes per second."""

    delay: float = 0.02
    jitter: float = 0.02
    loss: float = 0.0
    bandwidth: float = 12_500_000.0


class Network:
    """State of all links: partitions, and order within each direction of a channel."""

    def __init__(self, model: LinkModel, dice: random.Random) -> None:
        self.model = model
        self._dice = dice
        self._last: dict[tuple[NodeId, NodeId], float] = {}
        self._cut: set[NodeId] = set()

    def cut(self, peer: NodeId) -> None:
        """Take a party off the network: its packets vanish without a word."""
        self._cut.add(peer)

    def heal(self, peer: NodeId) -> None:
        """Put it back."""
        self._cut.discard(peer)

    def reachable(self, one: NodeId, other: NodeId) -> bool:
        """Return whether packets pass between the two."""
        return one not in self._cut and other not in self._cut

    def arrival(self, now: float, one: NodeId, other: NodeId, size: int) -> float | None:
        """Return when a packet arrives, or None when it is lost. Never before an earlier one of the same direction."""
        model = self.model
        if not self.reachable(one, other) or (model.loss and self._dice.random() < model.loss):
            return None
        at = now + model.delay + model.jitter * self._dice.random() + size / model.bandwidth
        at = max(at, self._last.get((one, other), 0.0) + 1e-9)
        self._last[one, other] = at
        return at

    def forget(self, one: NodeId) -> None:
        """Drop the order of a dead party's channels."""
        for pair in [pair for pair in self._last if one in pair]:
            del self._last[pair]
