"""An orchestrator put together: the only place that picks its adapters. One process: directory, address echo, queue."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from propolis.adapters.blobs.files import RESERVE, FileBlobs
from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.solver.greedy import GreedySolver
from propolis.adapters.store.sqlite import SqliteStore
from propolis.adapters.wire.choice import has_iroh
from propolis.adapters.wire.source import told
from propolis.adapters.wire.websocket import WebSocketWire
from propolis.adapters.world.system import SystemClock, SystemEntropy
from propolis.messages.membership import Role
from propolis.parties.orchestrator import BOOT, META, OrchestratorParty, restore
from propolis.ports.store import Store
from propolis.ports.wire import Wire
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.book import INPUTS, JOBS, RESULTS
from propolis.protocols.machine import Dial, HangUp, Persist, Transmit
from propolis.protocols.membership.registrar import INVITES, MEMBERS
from propolis.runtime import config
from propolis.runtime.blob_service import BlobService
from propolis.runtime.driver import Driver
from propolis.runtime.invitation import Invitation, to_text
from propolis.runtime.known import known_today
from propolis.runtime.post import Post
from propolis.terms.identity import NodeId
from propolis.terms.placement import Placement

log = logging.getLogger(__name__)

ROOM_SECONDS = 2.0


class Orchestrator:
    """One running orchestrator."""

    def __init__(self, home: Path, listen: Sequence[str] = ()) -> None:
        """`listen`: addresses for both wires, the WebSocket at the first; empty: where it was, or loopback."""
        self._home = home
        known = config.read(home / "orchestrator.json", config.OrchestratorFile) or config.OrchestratorFile()
        self._settings = known.asked(listen)
        self.keys = FileKeyHome(home / "identity")
        self.addresses: tuple[str, ...] = ()

    async def serve(self, ready: Callable[["Orchestrator"], None], *, invite_operator: bool = False) -> None:
        """Run until cancelled or broken. `invite_operator`: issue the first operator's invitation at start."""
        clock = SystemClock()
        store = SqliteStore(self._home / "state.db")
        party = _restored(store, clock)
        wires = await self._wires(party.registrar.is_member)
        self.addresses = told([address for wire in wires for address in wire.addresses])
        driver = Driver(party, clock=clock, store=store)
        blobs = FileBlobs(self._home / "blobs")
        post = Post(wires, store, driver.post)
        service = BlobService(blobs, post.reach, lambda peer, blob: party.registrar.is_member(peer))
        post.serve_blobs(service.serve)
        post.limit_bodies(party.office.body_limit)
        solver = GreedySolver()
        for kind, do in ((Dial, post.dial), (HangUp, post.hang_up), (Transmit, post.transmit)):
            driver.on(kind, do)

        async def solve(work: ev.Solve) -> Placement:
            return solver.solve(work.problem)

        driver.on(ev.Solve, solve)
        driver.on(ev.FetchProgram, lambda work: service.fetch(work.program, work.holders))
        driver.on(ev.DropProgram, lambda action: blobs.drop(action.program.id))
        driver.after_round(post.flush)
        first = [party.first_writes()]
        self.owner_invitation = self._invite(party, first) if invite_operator else ""
        post.start()
        driver.start(*first)
        watcher = asyncio.create_task(_watch_room(store, driver))
        try:
            await asyncio.sleep(0)
            ready(self)
            await driver.join()
        finally:
            watcher.cancel()
            await driver.stop()
            await post.stop()
            store.close()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(watcher, return_exceptions=True)

    def _invite(self, party: OrchestratorParty, first: list[Persist]) -> str:
        """Return the first operator's invitation. All others are the operator's to give: its word is what owners check."""
        token, writes = party.registrar.invite(Role.OWNER, operator=True)
        first.append(Persist(writes))
        invitation = Invitation(fleet=self.keys.identity, addresses=self.addresses, token=token, role=Role.OWNER)
        return to_text(invitation)

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
        config.write(self._home / "orchestrator.json", config.OrchestratorFile(listen=listen, websocket=web))
        return wires


def _restored(store: Store, clock: SystemClock) -> OrchestratorParty:
    boot = int.from_bytes(store.get(META, BOOT) or b"", "big") + 1
    party = OrchestratorParty(SystemEntropy(), boot, known_today())
    restore(
        party,
        ((table, key, value) for table in (MEMBERS, INVITES) for key, value in store.scan(table)),
        (value for _, value in store.scan(JOBS)),
        store.sizes(INPUTS),
        store.scan(RESULTS),
        clock.now(),
    )
    return party


async def _watch_room(store: Store, driver: Driver) -> None:
    """Refuse new work before the disk is full, so that what was accepted can still be finished."""
    full = False
    while True:
        now_full = store.room() < RESERVE
        if now_full != full:
            full = now_full
            driver.post(session.DiskFilled(full))
            log.warning("the disk is %s", "full: new work is refused" if full else "free again")
        await asyncio.sleep(ROOM_SECONDS)
