"""Addresses as text: which source one comes from, and which of those a peer tells may be dialled. No look-up, no socket.

What a member tells of itself is passed on to others as a place to dial, so it could aim them at anything. Taken are only
`host:port` of literal addresses, and only of a reach its teller is in itself: loopback of a teller seen at loopback, link-local
of one seen at link-local. Wildcards, multicast, reserved ranges, zones and tunnels (6to4, Teredo) are never taken.
"""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
LOOPBACK, LINK, FAR = "loopback", "link", "far"


def parted(address: str) -> tuple[Address, int] | None:
    """Return host and port (1 to 65535) of `1.2.3.4:5` or `[::1]:5`, or None. An IPv4 address inside IPv6 counts as IPv4."""
    host, _, digits = address.rpartition(":")
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    try:
        ip = ipaddress.IPv6Address(inside) if inside else ipaddress.IPv4Address(host)
    except ValueError:
        return None
    if not 1 <= port <= 65535 or (isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None):
        return None
    return _plain(ip), port


def source(address: str) -> str:
    """Return what counts as one source: an IPv4 address, the /64 of an IPv6 one, or the text but its port where it is neither."""
    host, percent, rest = address.partition("%")  # a zone says by which of our interfaces, not who
    found = parted(f"{host}]{rest.partition(']')[2]}" if percent else address)
    if found is None:
        return address.rpartition(":")[0] or address
    ip, _ = found
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))


def dialable(told: Sequence[str], seen: Sequence[str]) -> tuple[str, ...]:
    """Return those of the addresses a peer told that may be dialled, rewritten plainly, each once.

    `seen`: where the teller is seen or reached itself, bare or with a scheme; it decides how near an address may be.
    """
    near = {_reach(found[0]) for text in seen if (found := parted(text.partition("://")[2] or text)) is not None}
    taken: dict[str, None] = {}
    for text in told:
        found = parted(text)
        if found is not None and _reach(found[0]) in {FAR, *near} - {""}:
            taken[written(*found)] = None
    return tuple(taken)


def written(ip: Address, port: int) -> str:
    """Return `1.2.3.4:5` or `[::1]:5`."""
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def _plain(ip: Address) -> Address:
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def _reach(ip: Address) -> str:
    """Return how far an address leads; "" = nowhere a peer may send us."""
    if ip.is_loopback:
        return LOOPBACK
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.sixtofour is not None or ip.teredo is not None:
            return ""
    elif ip in _THIS_NETWORK:
        return ""
    return LINK if ip.is_link_local else FAR
