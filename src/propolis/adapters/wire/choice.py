"""Which wire to open: iroh where its wheel is installed and the fleet can be reached by it, WebSocket otherwise."""

import logging
from collections.abc import Sequence

from propolis.adapters.wire.source import sources
from propolis.ports.wire import Admit, Wire
from propolis.terms.errors import ConfigError

log = logging.getLogger(__name__)


def has_iroh() -> bool:
    """Return whether iroh's binding can be imported here."""
    try:
        import iroh.iroh_ffi  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


async def open_wires(seed: bytes, fleet: Sequence[str], listen: Sequence[str], admit: Admit | None) -> list[Wire]:
    """Open the wires of a member that wants to reach the addresses of `fleet`. Raises ConfigError, PeerUnreachable.

    `listen`: empty = at the address that leads to the fleet, loopback for a fleet on this computer.
    """
    from propolis.adapters.wire.websocket import WebSocketWire

    wires: list[Wire] = []
    plain = [address for address in fleet if "://" not in address]
    if has_iroh() and plain:
        from propolis.adapters.wire.iroh import IrohWire

        wires.append(await IrohWire.bind(seed, listen=listen or sources(plain), admit=admit))
    if any("://" in address for address in fleet):
        wires.append(await WebSocketWire.open(seed))
    if not wires:
        raise ConfigError(
            "this platform has no iroh wheel and the fleet names no ws:// address; ask its operator for one"
        )
    return wires
