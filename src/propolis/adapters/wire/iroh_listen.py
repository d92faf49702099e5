"""Where iroh listens: exactly the addresses asked for, loopback for the other family, no wildcard, no foreign server."""

import errno
import ipaddress
import os
import re
from collections.abc import Sequence
from typing import Any

import iroh.iroh_ffi as glue

from propolis.terms.errors import ConfigError


class OwnPreset(glue.Preset):  # type: ignore[misc]
    """Minimal preset with exactly our addresses bound."""

    def __init__(self, listen: Sequence[str]) -> None:
        self._listen = listen

    def apply(self, builder: Any) -> None:
        """Called by iroh while it binds."""
        builder.apply_minimal()
        builder.relay_mode(glue.RelayMode.disabled())
        for address in self._listen:
            builder.bind_addr(address)


_CURES = {
    errno.EADDRINUSE: "name another port, or 0 for any that is free",
    errno.EADDRNOTAVAIL: "name an address of this machine, like 192.168.1.7:0",
    errno.EACCES: "name a port from 1024 on, or 0 for any that is free",
}


def cannot_listen(listen: Sequence[str], said: str) -> ConfigError:
    """Return what the system said when it did not let us bind; the carrier's own words hold paths of its makers."""
    found = re.search(r"os error (\d+)", said)
    number = int(found[1]) if found else 0
    words = os.strerror(number).lower() if found else re.sub(r"\s*\(/[^)]*\)", "", said)
    return ConfigError(f"cannot listen on {', '.join(listen)}: {words}", hint=_CURES.get(number, ""))


def checked_addresses(listen: Sequence[str], *, every_interface: bool = False) -> list[str]:
    """Return the addresses to bind, one per family. Raises ConfigError for a wildcard nobody asked for by name."""
    addresses: list[str] = []
    families: set[int] = set()
    for text in listen:
        host, _, port = text.rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
            number = int(port)
        except ValueError as error:
            raise ConfigError(f"{text!r} is not an address like 127.0.0.1:0 or [::1]:0") from error
        if address.is_unspecified and not every_interface:
            raise ConfigError(f"{text!r} would listen on every interface; name the address to listen on")
        families.add(address.version)
        addresses.append(f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}")
    if 4 not in families:
        addresses.append("127.0.0.1:0")
    if 6 not in families:
        addresses.append("[::1]:0")
    return addresses
