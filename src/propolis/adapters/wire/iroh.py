"""The carrier: iroh 1.2, QUIC dialled by Ed25519 key. No foreign server, no relay, only the addresses asked for.

Facts met by doing, each with its cure: binding one IPv4 address also binds every IPv6 interface, so a preset of our own
binds each address and a loopback one for the other family; a closed port or a silent peer costs 30 s, so every dial is cut
at 3 s; the error's text is empty, so its kind and message are read; each awaited call is a thread hop of about 0.1 ms, so
reads and writes are large.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import iroh.iroh_ffi as glue

from propolis.adapters.wire.gate import HELLO_SECONDS, Gate
from propolis.adapters.wire.iroh_glue import repair
from propolis.adapters.wire.iroh_listen import OwnPreset, cannot_listen, checked_addresses
from propolis.adapters.wire.iroh_stream import IrohStream, why
from propolis.ports.wire import DIAL_SECONDS, MAX_DATAGRAM, MAX_STREAMS, Admit
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable, TooLarge
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)
Member = Callable[[NodeId], bool]

ALPN = b"propolis/1"
GRANTED = MAX_STREAMS + 16
"""What the carrier grants: it tells of freed streams an eighth late, so with MAX_STREAMS alone a dialler would wait in vain."""

MAX_ACCEPTED = 256
"""Channels that wait for `accept`."""

RETRY_FROM = 32
"""Handshakes under way from which newcomers have to show that they are where they say (QUIC Retry): one more round trip for
the honest, and whoever forges source addresses gets no further."""


class IrohChannel:
    """One authenticated QUIC connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._peer = NodeId(bytes(connection.remote_id().to_bytes()))
        connection.set_max_concurrent_bi_streams(GRANTED)
        self._opened = self._accepted = 0
        self._room = asyncio.Event()  # for streams of ours
        self._left = asyncio.Event()  # one of the peer's ended
        connection.set_max_concurrent_uni_streams(0)

    @property
    def peer(self) -> NodeId:
        """The key the other side proved."""
        return self._peer

    @property
    def observed(self) -> str:
        """The address the other side is seen at."""
        paths = self._connection.paths()
        return str(paths[0].remote_addr) if paths else ""

    async def open_stream(self) -> IrohStream:
        """Open a stream; the peer sees it with our first byte. Waits DIAL_SECONDS for room, then refuses."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                while self._opened >= MAX_STREAMS:
                    self._room.clear()
                    await self._room.wait()
                self._opened += 1  # before the wait below: others may ask meanwhile
                try:
                    pair = await self._connection.open_bi()
                except BaseException:
                    self._one_less_opened()
                    raise
        except (glue.IrohError, TimeoutError) as error:
            raise PeerUnreachable(why(error)) from error
        return IrohStream(pair, self._one_less_opened)

    async def accept_stream(self) -> IrohStream:
        """Wait for a stream of the peer. Those beyond MAX_STREAMS wait in the carrier until another one has ended."""
        while self._accepted >= MAX_STREAMS:
            await self._one_left()
        try:
            pair = await self._connection.accept_bi()
        except glue.IrohError as error:
            raise PeerUnreachable(why(error)) from error
        self._accepted += 1
        return IrohStream(pair, self._one_less_accepted)

    async def _one_left(self) -> None:
        """Return when one of the peer's streams ended. Raises PeerUnreachable when the channel is over."""
        self._left.clear()
        left, over = asyncio.ensure_future(self._left.wait()), asyncio.ensure_future(self.closed())
        try:
            await asyncio.wait({left, over}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                raise PeerUnreachable("the channel is over")
        finally:
            left.cancel()
            over.cancel()

    def _one_less_opened(self) -> None:
        self._opened -= 1
        self._room.set()

    def _one_less_accepted(self) -> None:
        self._accepted -= 1
        self._left.set()

    async def send_datagram(self, data: bytes) -> None:
        """Send a small message, best effort."""
        if len(data) > MAX_DATAGRAM:
            raise TooLarge(f"a datagram holds {MAX_DATAGRAM} bytes, not {len(data)}")
        try:
            self._connection.send_datagram(data)
        except glue.IrohError as error:
            raise PeerUnreachable(why(error)) from error

    async def receive_datagram(self) -> bytes:
        """Wait for a datagram."""
        try:
            return bytes(await self._connection.read_datagram())
        except glue.IrohError as error:
            raise PeerUnreachable(why(error)) from error

    async def close(self) -> None:
        """End the connection."""
        try:
            self._connection.close(0, b"")
        except glue.IrohError as error:
            log.debug("close: %s", why(error))

    async def closed(self) -> None:
        """Return when it is over."""
        try:
            await self._connection.closed()
        except glue.IrohError as error:
            log.debug("closed: %s", why(error))


class IrohWire:
    """One endpoint."""

    def __init__(self, endpoint: Any, identity: NodeId, admit: Admit | None, member: Member, gate: Gate) -> None:
        self._endpoint = endpoint
        self._identity = identity
        self._admit = admit
        self._incoming: asyncio.Queue[IrohChannel | None] = asyncio.Queue(maxsize=MAX_ACCEPTED)
        self._member = member
        self._gate = gate
        self._handshakes: set[asyncio.Task[None]] = set()
        self._closed = False
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def bind(
        cls,
        seed: bytes,
        *,
        listen: Sequence[str] = ("127.0.0.1:0",),
        admit: Admit | None = None,
        every_interface: bool = False,
        member: Member = lambda _: False,
        gate: Gate | None = None,
    ) -> "IrohWire":
        """Open an endpoint under the identity of `seed` on exactly these addresses. Raises ConfigError.

        `member`: whose sources the gate keeps room for.
        """
        repair(glue)
        addresses = checked_addresses(listen, every_interface=every_interface)
        options = glue.EndpointOptions(preset=OwnPreset(addresses), secret_key=seed, alpns=[ALPN])
        try:
            endpoint = await glue.Endpoint.bind(options)
        except glue.IrohError as error:
            raise cannot_listen(listen, why(error)) from error
        return cls(endpoint, NodeId(bytes(endpoint.id().to_bytes())), admit, member, gate or Gate())

    @property
    def scheme(self) -> str:
        """Bare addresses."""
        return ""

    @property
    def identity(self) -> NodeId:
        """Our own key."""
        return self._identity

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we can be dialled."""
        return tuple(str(address) for address in self._endpoint.bound_sockets())

    async def dial(self, contact: Contact) -> IrohChannel:
        """Reach a peer within DIAL_SECONDS."""
        addresses = [address for address in contact.addresses if "://" not in address]
        if not addresses:
            raise PeerUnreachable("no address is known for this peer")
        try:
            peer = glue.EndpointId.from_bytes(contact.peer)
            address = glue.EndpointAddr(peer, None, addresses)
            async with asyncio.timeout(DIAL_SECONDS):
                return IrohChannel(await self._endpoint.connect(address, ALPN))
        except TimeoutError as error:
            raise PeerUnreachable(f"nobody answered at {', '.join(addresses)} within {DIAL_SECONDS:g} s") from error
        except glue.IrohError as error:
            raise PeerUnreachable(f"{', '.join(addresses)}: {why(error)}") from error

    async def accept(self) -> IrohChannel:
        """Wait for the next incoming channel."""
        channel = None if self._closed else await self._incoming.get()
        if channel is None:
            raise PeerUnreachable("the wire is closed")
        return channel

    async def close(self) -> None:
        """Close sockets and channels."""
        if self._closed:
            return
        self._closed = True
        self._listener.cancel()
        for task in list(self._handshakes):
            task.cancel()
        if self._incoming.full():
            self._incoming.get_nowait()
        self._incoming.put_nowait(None)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await self._endpoint.close()
        except (glue.IrohError, TimeoutError) as error:
            log.debug("close: %s", why(error))

    async def _listen(self) -> None:
        while True:
            incoming = await self._endpoint.accept_next()
            if incoming is None:
                return
            try:
                address = await self._from(incoming)
            except glue.IrohError as error:
                log.debug("a newcomer: %s", why(error))
                continue
            if address is not None:
                task = asyncio.create_task(self._shake(incoming, address))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)

    async def _from(self, incoming: Any) -> str | None:
        """Return where a newcomer comes from; None: it was told to show first that it is there."""
        if len(self._gate) >= RETRY_FROM and not await incoming.remote_addr_validated():
            await incoming.retry()
            return None
        return str(getattr(await incoming.remote_addr(), "addr", ""))

    async def _shake(self, incoming: Any, address: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        ticket = self._gate.enter(address, task.cancel)
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                accepting = await incoming.accept()
                channel = IrohChannel(await accepting.connect())
        except (glue.IrohError, TimeoutError) as error:
            log.debug("handshake: %s", why(error))
            return
        finally:
            self._gate.leave(ticket)
        if self._incoming.full() or (self._admit is not None and not await self._admit(channel.peer)):
            await channel.close()
            return
        self._remember(channel.peer, address)
        await self._incoming.put(channel)
        await channel.closed()
        self._remember(channel.peer, address)  # it may have joined meanwhile

    def _remember(self, peer: NodeId, address: str) -> None:
        if address and self._member(peer):
            self._gate.remember(peer, address)
