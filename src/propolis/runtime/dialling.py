"""Dialling one peer by every wire that can reach it: the next wire starts when the one before failed or is slow to answer.

A network that drops UDP says nothing, so a wire that has not answered in NEXT_SECONDS is not waited for alone. The first
channel that stands is taken, the others are given up; all of it ends within the wire's own DIAL_SECONDS.
"""

import asyncio
import logging
from collections.abc import Sequence

from propolis.ports.wire import DIAL_SECONDS, Channel, Wire
from propolis.terms.contact import Contact
from propolis.terms.errors import PeerUnreachable

log = logging.getLogger(__name__)

NEXT_SECONDS = 0.8


def ways(wires: Sequence[Wire], contact: Contact) -> list[Wire]:
    """Return the wires that can use one of the contact's addresses, in their own order; the first one if none can."""
    return [wire for wire in wires if addresses_for(wire, contact)] or list(wires[:1])


def addresses_for(wire: Wire, contact: Contact) -> list[str]:
    """Return the addresses a wire can dial: those of its scheme, or of the same over TLS (wss://)."""
    schemes = (wire.scheme, f"{wire.scheme}s") if wire.scheme else ("",)
    return [text for text in contact.addresses if (text.partition("://")[0] if "://" in text else "") in schemes]


async def dial(wires: Sequence[Wire], contact: Contact) -> tuple[Channel, Wire]:
    """Reach `contact` by the first wire that gets through, within DIAL_SECONDS. Raises PeerUnreachable with every reason."""
    loop = asyncio.get_running_loop()
    ends, waiting = loop.time() + DIAL_SECONDS, ways(wires, contact)
    running: dict[asyncio.Task[Channel], Wire] = {}
    failed: list[str] = []
    try:
        while (waiting or running) and loop.time() < ends:
            if waiting:
                wire = waiting.pop(0)
                running[asyncio.create_task(wire.dial(contact))] = wire
            until = min(ends, loop.time() + NEXT_SECONDS) if waiting else ends
            done, _ = await asyncio.wait(
                running, timeout=max(0.0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                wire = running.pop(task)
                error = task.exception()
                if error is None:
                    return task.result(), wire
                if not isinstance(error, PeerUnreachable):
                    raise error
                failed.append(str(error))
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    where = ", ".join(contact.addresses)
    raise PeerUnreachable("; ".join(failed) or f"nobody answered at {where} within {DIAL_SECONDS:g} s")


_closing: set[asyncio.Task[None]] = set()


def _close_late(task: asyncio.Task[Channel]) -> None:
    """A wire got through in the moment another one had: that channel is not needed."""
    if task.cancelled() or task.exception() is not None:
        return
    closing = asyncio.ensure_future(task.result().close())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
