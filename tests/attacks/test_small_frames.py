"""WebSockets that pour small frames, before their key is proven and after: each frame costs as much time as a large one."""

import asyncio
import contextlib
import secrets
import time

import pytest
from test_doors import WHOLE
from websockets.asyncio.client import connect

from propolis.adapters.wire import websocket
from propolis.adapters.wire.websocket import HELLO_ROOM, SUBPROTOCOL, WebSocketWire

PING = bytes([0x89, 0x80, 0, 0, 0, 0])
PATIENCE = 60.0


async def endless(ends):
    """Parts of a message that never ends."""
    while time.monotonic() < ends:
        yield b""


@pytest.fixture
async def listening(monkeypatch):
    monkeypatch.setattr(websocket, "HELLO_SECONDS", 10 * PATIENCE)  # it is not time that cuts them
    wire = await WebSocketWire.open(secrets.token_bytes(32), listen="127.0.0.1:0")
    yield wire
    await wire.close()


@pytest.mark.timeout(180)
async def test_a_newcomer_that_pours_pings_is_cut_before_it_proved_a_key(listening):
    host, _, port = listening.addresses[0].removeprefix("ws://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(WHOLE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(PING * (2 * HELLO_ROOM // len(PING)))
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(65536), PATIENCE):  # its pongs, then the end
            pass
    writer.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["pings", "fragments"])
async def test_a_peer_with_a_key_that_pours_small_frames_is_cut(listening, kind):
    wire = await WebSocketWire.open(secrets.token_bytes(32))
    socket = await connect(listening.addresses[0], subprotocols=[SUBPROTOCOL], proxy=None, compression=None)
    channel = await wire._greet(socket, listening.identity)

    async def pour():
        ends = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < ends:
            if kind == "pings":
                socket.transport.write(PING * 100)
            else:
                await socket.send(endless(ends))
            await asyncio.sleep(0)

    pouring = asyncio.create_task(pour())
    try:
        await asyncio.wait_for(channel.closed(), PATIENCE)
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        await wire.close()
