"""An orchestrator put together: the only place that picks its adapters. One process: directory, address echo, queue."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from propolis.adapters.blobs.files import RESERVE
from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.wire.choice import has_iroh
from propolis.adapters.wire.source import told
from propolis.adapters.wire.websocket import WebSocketWire
from propolis.messages.membership import Role
from propolis.orchestrator.life import Life
from propolis.parties.orchestrator import OrchestratorParty
from propolis.ports.store import Write
from propolis.ports.wire import Wire
from propolis.runtime import config
from propolis.runtime.invitation import Invitation, to_text
from propolis.terms.errors import StoreFull
from propolis.terms.identity import NodeId

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
QUIET_SECONDS = 60.0  # a life this long was no part of a row of failures


class Orchestrator:
    """One running orchestrator."""

    def __init__(self, home: Path, listen: Sequence[str] = ()) -> None:
        """`listen`: addresses for both wires, the WebSocket at the first; empty: where it was, or loopback."""
        self._home = home
        known = config.read(home / "orchestrator.json", config.OrchestratorFile) or config.OrchestratorFile()
        self._settings = known.asked(listen)
        self.keys = FileKeyHome(home / "identity")
        self.addresses: tuple[str, ...] = ()
        self.owner_invitation = ""
        self._life: Life | None = None

    async def serve(self, ready: Callable[["Orchestrator"], None], *, invite_operator: bool = False) -> None:
        """Run until cancelled or broken. `invite_operator`: issue the first operator's invitation at start.

        A write that finds the disk full ends one life and begins the next from what is written: nothing that failed was
        ever acknowledged, so members come back to it as after a crash. The wires stay open meanwhile.
        """
        wires = await self._wires(self._is_member)
        self.addresses = told([address for wire in wires for address in wire.addresses])
        life = self._life = Life(self._home, wires, RESERVE, self.keys)
        pause, inviting, said = FIRST_PAUSE, invite_operator, False

        def serving() -> None:
            nonlocal inviting, said
            inviting = False
            if not said:
                said = True
                ready(self)

        try:
            while True:
                began = time.monotonic()
                try:
                    await life.live(self._invite if inviting else lambda party: (), serving)
                    return
                except StoreFull as error:
                    if inviting:
                        raise
                    log.error("what came last is not kept, beginning anew from what is: %s", error)
                    pause = FIRST_PAUSE if time.monotonic() - began > QUIET_SECONDS else min(2 * pause, LONGEST_PAUSE)
                await asyncio.sleep(pause)
        finally:
            for wire in wires:
                await wire.close()

    def _is_member(self, peer: NodeId) -> bool:
        return self._life is not None and self._life.is_member(peer)

    def _invite(self, party: OrchestratorParty) -> tuple[Write, ...]:
        """Issue the first operator's invitation. All others are the operator's to give: its word is what owners check."""
        token, writes = party.registrar.invite(Role.OWNER, operator=True)
        invitation = Invitation(fleet=self.keys.identity, addresses=self.addresses, token=token, role=Role.OWNER)
        self.owner_invitation = to_text(invitation)
        return writes

    async def _wires(self, member: Callable[[NodeId], bool]) -> list[Wire]:
        wires: list[Wire] = []
        seed, settings = self.keys.seed_for_wire(), self._settings
        if has_iroh():
            from propolis.adapters.wire.iroh import IrohWire

            wires.append(await IrohWire.bind(seed, listen=settings.listen, member=member))
        if settings.websocket:
            wires.append(await WebSocketWire.open(seed, listen=settings.websocket, member=member))
        listen = told([a for wire in wires for a in wire.addresses if "://" not in a]) or settings.listen
        web = next((a.partition("://")[2] for wire in wires for a in wire.addresses if "://" in a), "")
        found = config.OrchestratorFile(listen=listen, websocket=web)
        if config.read(self._home / "orchestrator.json", config.OrchestratorFile) != found:  # a full disk takes no file
            config.write(self._home / "orchestrator.json", found)
        return wires
