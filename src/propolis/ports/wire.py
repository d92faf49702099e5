"""The wire: dial by key, authenticated and encrypted channels, byte streams and small datagrams. Nothing more.

Restricted to endpoint, channel, stream, datagram (DESIGN section 9), so that another carrier can take its place. Every
implementation passes `propolis.testing.wire`.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from propolis.terms.contact import Contact
from propolis.terms.identity import NodeId

DIAL_SECONDS = 3.0
"""No dial takes longer: a closed UDP port would otherwise cost 30 s."""

MAX_STREAMS = 64
"""Streams one peer may hold open towards us."""

MAX_DATAGRAM = 1100
"""Bytes; larger ones are refused by `send_datagram`."""


class Stream(Protocol):
    """An ordered byte stream with back-pressure. Both directions close on their own."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`; returns when accepted by the carrier. Raises PeerUnreachable."""
        ...

    async def read(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes, or b"" at the peer's end of stream. Raises PeerUnreachable."""
        ...

    async def finish(self) -> None:
        """Say that nothing more will be written."""
        ...

    async def reset(self) -> None:
        """Abandon both directions at once; never raises."""
        ...


class Channel(Protocol):
    """One authenticated, encrypted connection with a peer."""

    @property
    def peer(self) -> NodeId:
        """The key the other side has proved to hold."""
        ...

    @property
    def observed(self) -> str:
        """The address the other side is seen at, "" if the carrier cannot tell. For the address echo."""
        ...

    async def open_stream(self) -> Stream:
        """Open a stream towards the peer. Raises PeerUnreachable."""
        ...

    async def accept_stream(self) -> Stream:
        """Wait for a stream opened by the peer. Raises PeerUnreachable when the channel is over."""
        ...

    async def send_datagram(self, data: bytes) -> None:
        """Send at most MAX_DATAGRAM bytes, best effort. Raises TooLarge, PeerUnreachable."""
        ...

    async def receive_datagram(self) -> bytes:
        """Wait for a datagram. Raises PeerUnreachable when the channel is over."""
        ...

    async def close(self) -> None:
        """End the channel; idempotent, never raises."""
        ...

    async def closed(self) -> None:
        """Return when the channel is over, whoever ended it."""
        ...


Admit = Callable[[NodeId], Awaitable[bool]]
"""Asked once per incoming channel, after the peer proved its key and before anything of it is read."""


class Wire(Protocol):
    """An endpoint under our identity."""

    @property
    def scheme(self) -> str:
        """How its addresses begin ("ws" for ws://...); "" for bare host:port."""
        ...

    @property
    def identity(self) -> NodeId:
        """Our own key."""
        ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we can be dialled, each as `Contact.addresses` wants it; () when we only dial out."""
        ...

    async def dial(self, contact: Contact) -> Channel:
        """Reach `contact` within DIAL_SECONDS. Raises PeerUnreachable, also when another key answers."""
        ...

    async def accept(self) -> Channel:
        """Wait for the next incoming channel, its key proven. Raises PeerUnreachable when the wire is closed."""
        ...

    async def close(self) -> None:
        """Close all channels and sockets; idempotent, never raises."""
        ...
