"""The run's story as a hash: every step folded in, in order, with what messages say. Same seed, same hash, in any process."""

import hashlib

from propolis.messages import codec
from propolis.protocols.machine import Event, PacketArrived, WorkDone, WorkFailed


class Trace:
    """A running fingerprint. `lines` collects readable steps when asked to."""

    def __init__(self, *, keep: bool = False) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[str] | None = [] if keep else None
        self.steps = 0

    def step(self, now: float, party: bytes, event: Event) -> None:
        """Fold one event in."""
        self.steps += 1
        line = f"{now:.6f} {party[:4].hex()} {_essence(event)}"
        self._hash.update(line.encode())
        if isinstance(event, PacketArrived):
            self._hash.update(codec.encode(event.packet.envelope))
            for part in event.packet.body:
                self._hash.update(part)
        if self.lines is not None:
            self.lines.append(line)

    @property
    def fingerprint(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


def _essence(event: Event) -> str:
    match event:
        case PacketArrived(peer=peer, packet=packet):
            envelope = packet.envelope
            message = type(envelope.message).__name__ if envelope.message is not None else "beat"
            return f"{message} from {peer[:4].hex()} {envelope.seq}/{envelope.ack}"
        case WorkDone(ticket=ticket) | WorkFailed(ticket=ticket):
            return f"{type(event).__name__} {ticket}"
        case _:
            return type(event).__name__
