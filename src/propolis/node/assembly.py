"""A node put together: the only place that picks a node's adapters. `Node.open` joins or rejoins, `serve` runs it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.executor.bare import BareExecutor
from propolis.adapters.executor.sandbox import SandboxExecutor
from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.probe.choice import probe_here
from propolis.adapters.store.sqlite import SqliteStore
from propolis.adapters.wire.choice import open_wires
from propolis.adapters.wire.source import told
from propolis.adapters.world import machine
from propolis.adapters.world.system import SystemClock, SystemEntropy
from propolis.decisions.appraisal.telling import proven_words
from propolis.decisions.capabilities.reading import read
from propolis.decisions.capabilities.summary import summary
from propolis.messages import codec
from propolis.messages.attestation import Appraised
from propolis.messages.jobs import Expect
from propolis.node import attesting
from propolis.node.hosting import Hosting
from propolis.parties.node import node_party
from propolis.ports.executor import Executor
from propolis.ports.wire import Wire
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import ChannelClosed, DialFailed, Event
from propolis.protocols.membership.member import Barred, Inside
from propolis.runtime import config, results
from propolis.runtime.ending import turned_away
from propolis.runtime.household import Household
from propolis.runtime.known import known_today, known_weaknesses
from propolis.terms.capability import CapabilityReport, Detected, Offer, Rung
from propolis.terms.contact import Contact
from propolis.terms.credential import Credential
from propolis.terms.errors import ConfigError, MalformedMessage, PeerUnreachable
from propolis.terms.identity import BlobId, NodeId
from propolis.terms.job import Needs

log = logging.getLogger(__name__)

NO_WAY_SECONDS = 2.0
MAX_REASONS = 16


def _unheard(orchestrator: Contact, reason: str) -> None:
    """Nobody wants to know; the post logs it."""


class Node:
    """One running node."""

    def __init__(
        self,
        home: Path,
        executor: Executor,
        settings: config.NodeFile,
        unreached: Callable[[Contact, str], None] = _unheard,
        appraised: Callable[[str], None] | None = None,
    ) -> None:
        """`unreached`: told, with the reason, each time the orchestrator is not reached yet.

        `appraised`: told in words what the fleet concluded of this machine, once per change; else the log is. Raises ConfigError.
        """
        self._home = home
        self._executor = executor
        self._settings = settings
        self._functions_from = _functions_from(executor, settings)
        fleet = config.read(home / "fleet.json", config.FleetFile)
        if fleet is None:
            raise ConfigError(f"{home} belongs to no fleet; join one: propolis node join INVITATION")
        self._fleet = fleet
        self._unreached = unreached
        self._appraised = appraised
        self._concluded = ""
        self._without: list[tuple[str, int]] = []  # why this machine shows nothing; told once it is inside
        self._ended_for: set[str] = set()
        self._expected: set[tuple[NodeId, BlobId]] = set()
        self.orchestrator = fleet.orchestrator
        self.inside = asyncio.Event()
        self._turned_away = asyncio.Event()
        self.barred: Barred | None = None
        self.report: CapabilityReport | None = None

    async def serve(self) -> None:
        """Run until cancelled, barred or broken. Raises Unsupported, InvitationRefused, StoreError."""
        isolation = await self._executor.probe()
        settings = self._settings
        attester = await attesting.attester_here(settings, lambda *why: self._without.append(why))
        if attester is None:
            results.drop(self._home)  # of an earlier start that showed something
        self.report = machine.report(
            name=settings.name,
            slots=settings.slots,
            memory_mb=settings.memory_mb,
            isolation=isolation,
            packages=settings.packages,
            kinds=settings.kinds,
            functions_from=self._functions_from,
            offer=Offer(region=settings.region, cost=settings.cost),
            found=await asyncio.to_thread(_found),
            shows=(attesting.KIND,) if attester is not None else (),
        )
        keys = FileKeyHome(self._home / "identity")
        showing = attesting.Showing(attester, keys.identity) if attester is not None else None
        wires = await self._wires(keys.seed_for_wire())
        store = SqliteStore(self._home / "state.db")
        credential = self._credential()
        party = node_party(
            SystemEntropy(),
            self.orchestrator,
            self.report,
            known_today(),
            node=keys.identity,
            token=bytes.fromhex(self._fleet.token),
            addresses=told([address for wire in wires for address in wire.addresses]),
            credential=credential,
        )
        blobs = FileBlobs(self._home / "blobs")
        blobs.clear()  # guests of an earlier process are gone, and their programs with them
        household = Household(party, wires, store, SystemClock(), tell=self._told, seen=self._seen)
        driver = household.driver
        service = household.serve(blobs, lambda peer, blob: (peer, blob) in self._expected, visitors=True)
        hosting = Hosting(self._executor, keys, self.report.offer, service, driver.post, credential, showing)
        driver.on(ev.FetchProgram, lambda work: service.fetch(work.program, work.holders))
        driver.on(ev.DropProgram, lambda action: blobs.drop(action.program.id))
        hosting.attach(driver)
        if showing is not None:
            showing.attach(driver)
        household.start()
        for slot in range(self.report.slots):
            self._executor.warm(slot)
        try:
            await driver.join()
        finally:
            await household.stop()
            await hosting.close()
            await self._executor.close()
            store.close()

    def _credential(self) -> Credential | None:
        """Return the operator's word on us. Raises ConfigError when fleet.json holds something else."""
        if not self._fleet.credential:
            log.warning("the fleet's operator did not invite this node; owners will release no key to it")
            return None
        try:
            return codec.decode(bytes.fromhex(self._fleet.credential), Credential)
        except (ValueError, MalformedMessage) as error:
            raise ConfigError("fleet.json: 'credential' is damaged; join again with a fresh invitation") from error

    async def _wires(self, seed: bytes) -> list[Wire]:
        """Open the wires; a lent computer may start before its network does, so a way to the fleet is waited for."""
        while True:
            try:
                return await open_wires(seed, self.orchestrator.addresses, self._settings.listen, self._admit)
            except PeerUnreachable as error:
                self._unreached(self.orchestrator, str(error))
                await asyncio.sleep(NO_WAY_SECONDS)

    async def _admit(self, peer: NodeId) -> bool:
        """Peers other than the orchestrator come only when it told us to expect them."""
        return peer == self.orchestrator.id or any(known == peer for known, _ in self._expected)

    def _seen(self, event: Event) -> None:
        if isinstance(event, DialFailed | ChannelClosed) and event.reason and not self.inside.is_set():
            self._unreached(self.orchestrator, event.reason)

    def _told(self, note: Any) -> None:
        match note:
            case Inside(first=first):
                if first:
                    config.write(self._home / "fleet.json", msgspec.structs.replace(self._fleet, token=""))
                self.inside.set()
                for words, level in self._without:
                    self._say(words, level)
                self._without.clear()
            case Barred():
                self.barred = note
                if self._fleet.token and not self.inside.is_set():  # it opened nothing: this home belongs to no fleet
                    (self._home / "fleet.json").unlink(missing_ok=True)
                self.inside.set()
                self._turned_away.set()
            case Appraised():
                self._keep(note)
            case session.EndSession(reason=reason):
                fresh = reason not in self._ended_for and len(self._ended_for) < MAX_REASONS
                log.log(logging.ERROR if fresh else logging.DEBUG, "the session is ended: %s", reason)
                self._ended_for.update((reason,) if fresh else ())
            case Expect(program=program, peers=peers):
                if len(self._expected) > 100_000:
                    self._expected.clear()
                self._expected.update((NodeId(peer), program.id) for peer in peers)
            case _:
                pass

    def _keep(self, result: Appraised) -> None:
        """Keep the newest result, or none where it is over; say what it says when that is something else than before."""
        try:
            if result.ear:
                results.keep(self._home, result.ear)
            else:
                results.drop(self._home)
        except (ConfigError, OSError) as error:
            log.warning("what the fleet concluded of this machine is not kept: %s", error)
        words = f"this machine proved: {proven_words(result.proven)}"
        if not result.proven:
            words = f"this machine proves nothing: {result.reason or 'the fleet gave no reason'}"
        if words != self._concluded:
            self._concluded = words
            self._say(words, logging.INFO if result.proven else logging.WARNING)

    def _say(self, words: str, level: int) -> None:
        """Tell the person at the terminal, or the log where there is none."""
        if self._appraised is not None:
            self._appraised(words)
        else:
            log.log(level, "%s", words)

    async def wait_inside(self) -> None:
        """Return once the node is in its fleet. Raises InvitationRefused or MemberRemoved when it is turned away."""
        await self.inside.wait()
        if self.barred is not None:
            raise turned_away(self.barred.code, self.barred.reason)

    async def wait_out(self) -> None:
        """Wait until the fleet turns the node away; raises what it said, as `wait_inside` does."""
        await self._turned_away.wait()
        await self.wait_inside()


def _found() -> tuple[Detected, ...]:
    """Return what the probe finds here; told to the fleet for people to look at."""
    return summary(read(probe_here().record(), known_weaknesses()))


def _functions_from(executor: Executor, settings: config.NodeFile) -> Rung:
    """Return the weakest rung the lender accepts for strangers' code; who chose the bare executor by name accepts all."""
    if isinstance(executor, BareExecutor):
        return Rung.BARE
    return Rung.FLAT if settings.functions_without_namespaces else Rung.NAMESPACES


def sandboxed(settings: config.NodeFile) -> SandboxExecutor:
    """Return the executor every node uses unless its lender asks otherwise by an option that says so."""
    most = settings.memory_mb or max(256, machine.total_memory_mb() // 2 // (settings.slots or machine.cores()))
    return SandboxExecutor(memory_mb=max(most, Needs().memory_mb))


async def run(node: Node, ready: Any) -> None:
    """Serve, and call `ready()` once inside. Raises what ended it, also that the fleet turned us away later."""
    serving = asyncio.create_task(node.serve())
    entering = asyncio.create_task(node.wait_inside())
    leaving = asyncio.create_task(node.wait_out())
    try:
        await asyncio.wait({serving, entering}, return_when=asyncio.FIRST_COMPLETED)
        if entering.done():
            entering.result()
            ready()
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        await (leaving if leaving.done() else serving)
    finally:
        for task in (entering, leaving, serving):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(serving, entering, leaving, return_exceptions=True)
