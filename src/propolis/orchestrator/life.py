"""One life of an orchestrator: its party restored from the store, driven until it is cancelled or a write fails.

What a full disk means is decided here. Below the reserve new work is refused; once a write failed, nothing that takes room
is written at all until there is room again, and no attempt is given out before this life's number is written, as
attempts never repeat.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.solver.greedy import GreedySolver
from propolis.adapters.store.sqlite import SqliteStore
from propolis.adapters.world.system import SystemClock, SystemEntropy
from propolis.crypto import ear
from propolis.decisions.guarantees import Known
from propolis.parties.orchestrator import OrchestratorParty
from propolis.ports.keyhome import KeyHome
from propolis.ports.solver import Solver
from propolis.ports.store import Store, Write
from propolis.ports.wire import Wire
from propolis.protocols import session
from propolis.protocols.attestation import appraising
from propolis.protocols.attestation import events as asking
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import Persist
from propolis.runtime.driver import Driver
from propolis.runtime.household import Household
from propolis.runtime.known import known_today
from propolis.terms.errors import StoreFull
from propolis.terms.identity import NodeId
from propolis.terms.placement import Placement

log = logging.getLogger(__name__)

ROOM_SECONDS = 2.0
SPILL_SECONDS = 5.0  # after a failed write, before room that seems to be there is believed in

Prepare = Callable[[OrchestratorParty], Sequence[Write]]


class Life:
    """Lives one after the other on the same home and wires; what one learnt of the disk the next one knows."""

    def __init__(self, home: Path, wires: Sequence[Wire], reserve: int, keys: KeyHome) -> None:
        """`reserve`: bytes of room below which new work is refused; `keys`: sign what is concluded of nodes."""
        self._home = home
        self._keys = keys
        self._wires = wires
        self._reserve = reserve
        self._spilled_at: float | None = None
        self._party: OrchestratorParty | None = None

    def is_member(self, peer: NodeId) -> bool:
        """Return whether the key was a member when last anybody knew."""
        return self._party is not None and self._party.registrar.is_member(peer)

    async def live(self, prepare: Prepare, serving: Callable[[], None]) -> None:
        """Serve. `prepare`: what to ask of the party, and what of it to write, before it meets anyone; `serving` is told then.

        Raises StoreFull when a write failed, StoreError.
        """
        store = SqliteStore(self._home / "state.db")
        try:
            await self._live(store, prepare, serving)
        except StoreFull:
            self._spilled_at = time.monotonic()
            raise
        finally:
            store.close()

    async def _live(self, store: SqliteStore, prepare: Prepare, serving: Callable[[], None]) -> None:
        clock = SystemClock()
        known = known_today()
        party = self._party = OrchestratorParty.restored(
            SystemEntropy(), store, known, clock.now(), epoch=time.time() - clock.now()
        )
        store.commit(prepare(party))
        room = Room(store, party.first_writes(), self._reserve, self._spilled_at)
        household = Household(party, self._wires, store, clock)
        self._attach(household, party)
        self._judge(household.driver, known)
        household.driver.post(room.look())
        household.start()
        watcher = asyncio.create_task(_watch(room, household.driver))
        try:
            await asyncio.sleep(0)
            serving()
            await household.driver.join()
        finally:
            watcher.cancel()
            await household.stop(keep_wires=True)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(watcher, return_exceptions=True)

    def _judge(self, driver: Driver, known: Known) -> None:
        """Say who does what the verifier asks for: appraisal beside the loop, signatures here."""

        turn = asyncio.Lock()  # one at a time: a thousand nodes that enter at once wait, and the loop goes on

        async def appraise(work: asking.Appraise) -> asking.Conclusion:
            async with turn:
                return await asyncio.to_thread(appraising.conclude, work, known.weaknesses, time.time())

        async def sign(work: asking.SignResult) -> str:
            return ear.sign(work.result, self._keys.sign_token)

        driver.on(asking.Appraise, appraise)
        driver.on(asking.SignResult, sign)

    def _attach(self, household: Household, party: OrchestratorParty) -> None:
        """Say who does what the party asks for."""
        driver, blobs = household.driver, FileBlobs(self._home / "blobs")
        blobs.retain(party.dispatcher.programs())
        solver: Solver = GreedySolver()
        service = household.serve(blobs, lambda peer, blob: party.registrar.is_member(peer))
        household.post.limit_bodies(party.office.body_limit)

        async def solve(work: ev.Solve) -> Placement:
            return solver.solve(work.problem)

        driver.on(ev.Solve, solve)
        driver.on(ev.FetchProgram, lambda work: service.fetch(work.program, work.holders))
        driver.on(ev.DropProgram, lambda action: blobs.drop(action.program.id))


class Room:
    """How much room there is, and whether this life's number is written."""

    def __init__(self, store: Store, number: Persist, reserve: int, spilled_at: float | None) -> None:
        self._store = store
        self._number: Persist | None = number
        self._reserve = reserve
        self._spilled_at = spilled_at

    def look(self) -> session.DiskFilled:
        """Return how the disk stands."""
        full = self._store.room() < self._reserve
        if self._spilled_at is not None and not full and time.monotonic() - self._spilled_at > SPILL_SECONDS:
            self._spilled_at = None
        try:
            if self._number is not None:
                self._store.commit(self._number.writes)
                self._number = None
        except StoreFull:
            return session.DiskFilled(full=True, spilled=True)
        spilled = self._spilled_at is not None
        return session.DiskFilled(full=full or spilled, spilled=spilled)


async def _watch(room: Room, driver: Driver) -> None:
    """Refuse new work before the disk is full, so that what was accepted can still be finished."""
    known = session.DiskFilled(full=False)
    while True:
        now = room.look()
        if now != known:
            known = now
            driver.post(now)
            log.warning("the disk is %s", "full: new work is refused" if now.full else "free again")
        await asyncio.sleep(ROOM_SECONDS)
