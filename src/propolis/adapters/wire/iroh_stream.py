"""One bidirectional QUIC stream of iroh: bytes in slices it likes, and the word to its channel when both directions ended."""

import logging
from collections.abc import Callable
from typing import Any

import iroh.iroh_ffi as glue

from propolis.terms.errors import PeerUnreachable

log = logging.getLogger(__name__)

SLICE = 256 * 1024
_HERE, _THERE = "here", "there"  # the two directions, each by the side that writes it


def why(error: BaseException) -> str:
    """Return an iroh error's reason; its str() is empty."""
    if isinstance(error, glue.IrohError):
        return f"{error.kind().name.lower()}: {error.message()}"[:300]
    return str(error) or type(error).__name__


class IrohStream:
    """One bidirectional QUIC stream."""

    def __init__(self, pair: Any, over: Callable[[], None]) -> None:
        self._send = pair.send()
        self._recv = pair.recv()
        self._over = over
        self._open = {_HERE, _THERE}  # directions that have not ended

    def _ended(self, *directions: str) -> None:
        was = bool(self._open)
        self._open.difference_update(directions)
        if was and not self._open:
            self._over()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, in slices the carrier likes."""
        try:
            if len(data) <= SLICE:
                await self._send.write_all(bytes(data))
                return
            view = memoryview(data)
            for start in range(0, len(view), SLICE):
                await self._send.write_all(bytes(view[start : start + SLICE]))
        except glue.IrohError as error:
            raise PeerUnreachable(why(error)) from error

    async def read(self, limit: int) -> bytes:
        """Return some bytes, or b"" at the end."""
        try:
            data = bytes(await self._recv.read(limit))
        except glue.IrohError as error:
            self._ended(_HERE, _THERE)
            raise PeerUnreachable(why(error)) from error
        if not data:
            self._ended(_THERE)
        return data

    async def finish(self) -> None:
        """Nothing more from us."""
        self._ended(_HERE)
        try:
            await self._send.finish()
        except glue.IrohError as error:
            raise PeerUnreachable(why(error)) from error

    async def reset(self) -> None:
        """Abandon both directions."""
        self._ended(_HERE, _THERE)
        for call in (self._send.reset, self._recv.stop):
            try:
                await call(0)
            except glue.IrohError as error:
                log.debug("reset: %s", why(error))
