"""Which of this computer's own addresses lead to a fleet: asked of the kernel, without sending anything. Never a wildcard.

A socket bound to loopback reaches nothing but this computer, and one bound to every interface is reached from all of them:
so a member that was not told where to listen does it at the one address its packets to the fleet leave from.
"""

import ipaddress
import socket
from collections.abc import Sequence

from propolis.terms.errors import PeerUnreachable


def sources(fleet: Sequence[str]) -> tuple[str, ...]:
    """Return where to listen, one address per family with any port. Raises PeerUnreachable when no way leads there."""
    found: dict[bool, list[str]] = {}
    for address in told(fleet):
        source = _source(address)
        if source:
            found.setdefault(source.startswith("["), []).append(source)
    if not found:
        raise PeerUnreachable(f"no way leads from this computer to {', '.join(fleet)}; is it on the fleet's network?")
    return tuple(min(of_family, key=leads_here) for of_family in found.values())


def _source(address: str) -> str:
    """Return the address the kernel sends from to host:port, with port 0; "" when there is no way."""
    host, port = _host(address), address.rpartition(":")[2]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        ipaddress.ip_address(host)  # a name is not looked up: the carrier takes none
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))
            source = str(probe.getsockname()[0]).partition("%")[0]
            return f"[{source}]:0" if family is socket.AF_INET6 else f"{source}:0"
    except (OSError, ValueError, OverflowError):
        return ""


def leads_here(address: str) -> bool:
    """Return whether an address, bare or ws://, is loopback: whoever dials it meets nobody but itself."""
    try:
        return ipaddress.ip_address(_host(address)).is_loopback
    except ValueError:
        return False


def told(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses worth telling others: loopback ones only where there are no others."""
    far = tuple(address for address in addresses if not leads_here(address))
    return far or tuple(addresses)


def _host(address: str) -> str:
    """Return the host of host:port or ws://host:port, without brackets."""
    return (address.partition("://")[2] or address).rpartition(":")[0].strip("[]")
