"""The wire for platforms without an iroh wheel: everyone dials the orchestrator over a WebSocket.

The WebSocket itself is trusted with nothing: identity and encryption are crypto/channel's, so ws:// through any proxy is as
safe as wss://. Bounded: message size, handshakes at a time and per source (the gate), time from the first packet to a proven key.
"""

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.frames import Frame, Opcode

from propolis.adapters.wire.gate import HELLO_SECONDS, Gate
from propolis.adapters.wire.mux import SLICE, MuxChannel
from propolis.crypto import identity
from propolis.crypto.channel import Handshake, Sealer
from propolis.ports.wire import DIAL_SECONDS, Admit
from propolis.terms.contact import Contact
from propolis.terms.errors import ConfigError, MalformedMessage, PeerUnreachable, SealBroken
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)
_carrier_log = logging.getLogger("propolis.websockets")
_carrier_log.setLevel(logging.CRITICAL)  # it writes a traceback for each stranger that breaks off: a disk would fill
Member = Callable[[NodeId], bool]
_NEVER_SENT = (Opcode.PING, Opcode.PONG, Opcode.CONT)

SUBPROTOCOL: Any = "propolis-1"
MAX_MESSAGE = SLICE + 4096
HELLO_ROOM = 16 * 1024
"""Bytes a newcomer may send before its key is proven: the upgrade, whatever a proxy adds to it, and two short messages."""

SMALL, SMALL_A_SECOND = 64, 1024
"""Pings and fragments of fewer bytes than SMALL, and how many of them a peer may send: each costs as much time as a large one,
and our own side sends none."""

FED = 16 * 1024
_OPTIONS: dict[str, Any] = {
    "compression": None,
    "max_size": MAX_MESSAGE,
    "ping_interval": None,
    "open_timeout": DIAL_SECONDS,
    "close_timeout": 1.0,
    "logger": _carrier_log,
}


class Newcomer(ServerConnection):
    """An incoming connection: it stands at the gate from its first packet until its key is proven, HELLO_SECONDS at most."""

    def __init__(self, gate: Gate, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._gate = gate
        self._room = HELLO_ROOM
        self._proven = False
        self._small = self._second = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self._ticket = self._gate.enter(_shown(self.transport.get_extra_info("peername")), self.transport.abort)
        self._late = self.loop.call_later(HELLO_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.passed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio. A part at a time: who sends too much, or too many frames, is cut within one."""
        self._room -= len(data)
        if self._room < 0 and not self._proven:
            self.transport.abort()
        for start in range(0, len(data), FED):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + FED])

    def process_event(self, event: Any) -> None:
        """Called for each frame."""
        if isinstance(event, Frame) and len(event.data) < SMALL and (event.opcode in _NEVER_SENT or not event.fin):
            second = int(self.loop.time())
            self._small = self._small + 1 if second == self._second else 1
            self._second = second
            if self._small > SMALL_A_SECOND:
                self.transport.abort()
        super().process_event(event)

    def proven(self) -> None:
        """Its key is known: from here on it is bounded as any peer is."""
        self._proven = True

    def passed(self) -> None:
        """The handshake is over, well or not: others have its room."""
        self._late.cancel()
        self._gate.leave(self._ticket)


class WebSocketWire:
    """One endpoint: dials, and listens if told to."""

    def __init__(self, seed: bytes, admit: Admit | None, member: Member, gate: Gate) -> None:
        self._seed = seed
        self._identity = identity.public_of(seed)
        self._admit = admit
        self._server: Server | None = None
        self._addresses: tuple[str, ...] = ()
        self._incoming: asyncio.Queue[MuxChannel | None] = asyncio.Queue()
        self._member = member
        self._gate = gate
        self._pumps: set[asyncio.Task[None]] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        seed: bytes,
        *,
        listen: str = "",
        admit: Admit | None = None,
        member: Member = lambda _: False,
        gate: Gate | None = None,
    ) -> "WebSocketWire":
        """Open an endpoint; `listen` is host:port of one address, "" = dial only. Raises ConfigError.

        `member`: whose sources the gate keeps room for.
        """
        wire = cls(seed, admit, member, gate or Gate())
        if listen:
            host, _, port = listen.rpartition(":")
            host = host.strip("[]")
            if host in ("", "0.0.0.0", "::"):  # noqa: S104  refused, not bound
                raise ConfigError(f"{listen!r} would listen on every interface; name the address to listen on")
            try:
                newcomer: Any = functools.partial(Newcomer, wire._gate)
                wire._server = await serve(
                    wire._serve, host, int(port), subprotocols=[SUBPROTOCOL], create_connection=newcomer, **_OPTIONS
                )
            except (OSError, ValueError) as error:
                hint = "name another address of this machine, or another port: 0 is any that is free"
                raise ConfigError(f"cannot listen on {listen}: {error}", hint=hint) from error
            wire._addresses = (f"ws://{_shown(next(iter(wire._server.sockets)).getsockname())}",)
        return wire

    @property
    def scheme(self) -> str:
        """Addresses begin with ws://."""
        return "ws"

    @property
    def identity(self) -> NodeId:
        """Our own key."""
        return self._identity

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we can be dialled; () when we only dial out."""
        return self._addresses

    async def dial(self, contact: Contact) -> MuxChannel:
        """Reach a peer within DIAL_SECONDS, at its first ws:// address."""
        address = next((text for text in contact.addresses if text.startswith(("ws://", "wss://"))), "")
        if not address:
            raise PeerUnreachable("no ws:// address is known for this peer")
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                socket = await connect(address, subprotocols=[SUBPROTOCOL], proxy=None, **_OPTIONS)
                try:
                    return await self._greet(socket, contact.id)
                except BaseException:
                    self._close_soon(socket)  # its farewell may take a second more than a dial has
                    raise
        except (TimeoutError, OSError, InvalidHandshake, InvalidURI, ConnectionClosed, SealBroken, EOFError) as error:
            raise PeerUnreachable(f"{address}: {error or type(error).__name__}") from error

    async def _greet(self, socket: Any, wanted: NodeId) -> MuxChannel:
        shake = Handshake(self._seed, secrets.token_bytes(32))
        await socket.send(shake.hello())
        message, send, receive = shake.finish(_bytes(await socket.recv()), wanted)
        await socket.send(message)
        if receive.open(_bytes(await socket.recv())) != b"welcome":
            raise SealBroken("the peer does not admit us")
        return self._channel(socket, wanted, send, receive, dialled=True)

    def _close_soon(self, socket: Any) -> None:
        task = asyncio.ensure_future(socket.close())
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)

    async def _serve(self, socket: Any) -> None:
        if self._closed:
            await socket.close()
            return
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                channel = await self._welcome(socket)
        except (TimeoutError, ConnectionClosed, SealBroken) as error:
            log.debug("handshake: %s", error)
            return
        finally:
            socket.passed()
        if channel is not None:
            self._remember(channel)
            self._incoming.put_nowait(channel)
            await channel.closed()
            self._remember(channel)  # it may have joined meanwhile

    def _remember(self, channel: MuxChannel) -> None:
        if channel.observed and self._member(channel.peer):
            self._gate.remember(channel.peer, channel.observed)

    async def _welcome(self, socket: Any) -> MuxChannel | None:
        shake = Handshake(self._seed, secrets.token_bytes(32))
        await socket.send(shake.answer(_bytes(await socket.recv())))
        peer, send, receive = shake.accept(_bytes(await socket.recv()))
        socket.proven()
        if self._admit is not None and not await self._admit(peer):
            await socket.send(send.seal(b"no"))
            return None
        await socket.send(send.seal(b"welcome"))
        return self._channel(socket, peer, send, receive, dialled=False)

    def _channel(self, socket: Any, peer: NodeId, send: Sealer, receive: Sealer, *, dialled: bool) -> MuxChannel:
        lock = asyncio.Lock()

        async def transmit(plain: bytes) -> None:
            async with lock:  # the counter in the seal is the order on the wire
                try:
                    await socket.send(send.seal(plain))
                except ConnectionClosed as error:
                    raise PeerUnreachable("the channel is over") from error

        observed = _shown(socket.remote_address)
        channel = MuxChannel(peer, observed, transmit, lambda: self._close_soon(socket), dialled=dialled)
        pump = asyncio.create_task(self._pump(socket, channel, receive))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return channel

    async def _pump(self, socket: Any, channel: MuxChannel, receive: Sealer) -> None:
        try:
            async for message in socket:
                channel.take(receive.open(_bytes(message)))
        except (ConnectionClosed, SealBroken, MalformedMessage) as error:
            log.debug("%s: %s", channel.peer[:4].hex(), error)
        finally:
            channel.end()
            with contextlib.suppress(ConnectionClosed):
                await socket.close()

    async def accept(self) -> MuxChannel:
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
        self._incoming.put_nowait(None)
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        if self._server is not None:
            self._server.close(close_connections=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DIAL_SECONDS):
                    await self._server.wait_closed()


def _bytes(message: Any) -> bytes:
    if not isinstance(message, bytes):
        raise SealBroken("text on a binary channel")
    return message


def _shown(address: Any) -> str:
    """Return a socket's address as host:port; "" where the system does not tell one."""
    if not address:
        return ""
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
