"""The owner's client, async: the owner party with its driver, post, blobs and vault. `sdk/fleet.py` is its face."""

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.store.sqlite import SqliteStore
from propolis.adapters.wire.choice import open_wires
from propolis.adapters.world.system import SystemClock, SystemEntropy
from propolis.crypto import sealing
from propolis.messages import codec, values
from propolis.messages.jobs import Progress, Refused, Rows, TaskResult
from propolis.messages.membership import Invited, Role
from propolis.messages.program import Program
from propolis.parties.owner import InviteAsked, owner_party
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import Dial, HangUp, Transmit
from propolis.protocols.membership.member import Barred, Inside
from propolis.runtime import config
from propolis.runtime.blob_service import BlobService
from propolis.runtime.driver import Driver
from propolis.runtime.invitation import Invitation, to_text
from propolis.runtime.post import Post
from propolis.sdk.vault import Owned, Vault
from propolis.terms.errors import ConfigError, InvitationRefused, PeerUnreachable
from propolis.terms.identity import JobId
from propolis.terms.job import JobSpec

Outcomes = dict[int, tuple[TaskResult, values.Outcome | None]]
ANSWER_SECONDS = 10.0


class Live:
    """What this client knows of one job while it is open."""

    def __init__(self, owned: Owned, outcomes: Outcomes) -> None:
        self.owned = owned
        self.outcomes = outcomes
        self.progress: Progress | None = None
        self.refused: Refused | None = None

    @property
    def complete(self) -> bool:
        """Whether every task has its result here."""
        return len(self.outcomes) == self.owned.spec.tasks


class Client:
    """One owner's session; all methods belong to the loop's thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        fleet = config.read(home / "fleet.json", config.FleetFile)
        if fleet is None:
            raise ConfigError(f"{home} belongs to no fleet; start one with: propolis up, or join with an invitation")
        self._fleet = fleet
        self.live: dict[JobId, Live] = {}
        self._changed = asyncio.Event()
        self._inside = asyncio.Event()
        self._barred: Barred | None = None
        self._tickets = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def open(self, seconds: float) -> None:
        """Connect. Raises PeerUnreachable, InvitationRefused, ConfigError."""
        keys = FileKeyHome(self._home / "identity")
        self._store = SqliteStore(self._home / "state.db", durable=False)
        self.vault = Vault(self._store)
        self._blobs = FileBlobs(self._home / "blobs")
        orchestrator = self._fleet.orchestrator
        wires = await open_wires(keys.seed_for_wire(), orchestrator.addresses, ("127.0.0.1:0",), self._nobody)
        party = owner_party(SystemEntropy(), orchestrator, token=bytes.fromhex(self._fleet.token))
        self._driver = Driver(party, clock=SystemClock(), store=self._store, tell=self._told)
        self._post = Post(wires, self._store, self._driver.post)
        service = BlobService(self._blobs, self._post.channel_to, lambda peer, blob: peer == orchestrator.id)
        self._post.serve_blobs(service.serve)
        for kind, do in ((Dial, self._post.dial), (HangUp, self._post.hang_up), (Transmit, self._post.transmit)):
            self._driver.on(kind, do)
        self._driver.on(ev.SealGrant, self._seal_grant)
        self._driver.on(ev.OpenResults, self._open_results)
        self._driver.after_round(self._post.flush)
        self._post.start()
        self._driver.start()
        try:
            await asyncio.wait_for(self._inside.wait(), seconds)
        except TimeoutError as error:
            where = ", ".join(orchestrator.addresses)
            raise PeerUnreachable(f"the orchestrator at {where} does not answer") from error
        if self._barred is not None:
            raise InvitationRefused(self._barred.reason)
        for owned in self.vault.jobs().values():
            if not self.vault.finished(owned).full:
                self.reopen(owned)

    async def close(self) -> None:
        """Disconnect; jobs go on as far as they can without us."""
        await self._driver.stop()
        await self._post.stop()
        self._store.close()

    async def _nobody(self, peer: Any) -> bool:
        return False  # nobody dials an owner

    # -- jobs

    def submit(
        self, spec_of: Callable[..., JobSpec], program: Program, inputs: list[bytes], *, job: JobId, bare_array: bool
    ) -> Live:
        """Seal and keep a job, then ask the fleet for it. `spec_of(program=ref)` makes the spec. Raises StoreFull."""
        secret = self.vault.fresh_secret()
        root = sealing.program_root(secret, job)
        ref = self._blobs.put(sealing.seal_program(root, job, codec.encode(program)))
        owned = Owned(spec=spec_of(program=ref), secret=secret, bare_array=bare_array, born=time.time())
        sizes = self.vault.add(owned, inputs)
        live = self.live[job] = Live(owned, {})
        self._driver.post(ev.SubmitAsked(owned.spec, sizes))
        return live

    def reopen(self, owned: Owned) -> Live:
        """Take up a job of an earlier client."""
        job = owned.spec.id
        if job not in self.live:
            self.live[job] = Live(owned, self.vault.results(owned))
            if not self.live[job].complete:
                finished = self.vault.finished(owned).data()
                self._driver.post(ev.SubmitAsked(owned.spec, self.vault.sizes(owned), finished))
        return self.live[job]

    def stop_job(self, job: JobId) -> None:
        """Ask for a job's end."""
        self._driver.post(ev.StopAsked(job))

    async def changed(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    async def ask(self, what: str, job: bytes = b"") -> Rows:
        """Ask the orchestrator. Raises PeerUnreachable, ConfigError."""
        answered = await self._answer(lambda ticket: ev.QuestionAsked(ticket, what, job))
        if answered.reason:
            raise ConfigError(answered.reason)
        rows: Rows = answered.rows
        return rows

    async def invite(self, role: Role) -> str:
        """Ask for a fresh invitation. Raises InvitationRefused."""
        invited = await self._answer(lambda ticket: InviteAsked(ticket, role))
        if not invited.token:
            raise InvitationRefused(invited.reason)
        fleet = self._fleet.orchestrator
        return to_text(Invitation(fleet=fleet.peer, addresses=fleet.addresses, token=invited.token, role=role))

    async def _answer(self, question: Callable[[int], Any]) -> Any:
        ticket = next(self._tickets)
        future = self._answers[ticket] = asyncio.get_running_loop().create_future()
        self._driver.post(question(ticket))
        try:
            return await asyncio.wait_for(future, ANSWER_SECONDS)
        except TimeoutError as error:
            raise PeerUnreachable("the orchestrator does not answer") from error
        finally:
            self._answers.pop(ticket, None)

    # -- work and notes

    async def _seal_grant(self, work: ev.SealGrant) -> bytes:
        return self.vault.grant(self.live[work.job].owned, work.guest, work.guest_key)

    async def _open_results(self, work: ev.OpenResults) -> list[bool]:
        live = self.live[work.job]
        verdicts: list[bool] = []
        for item, sealed in zip(work.items, work.sealed, strict=True):
            outcome = self.vault.opens(live.owned, item, bytes(sealed))
            verdicts.append(outcome is not False)
            if not isinstance(outcome, bool):
                live.outcomes[item.index] = (item, outcome)
        if live.complete:  # sealed inputs and program are not needed any more
            self.vault.forget_inputs(work.job)
            self._blobs.drop(live.owned.spec.program.id)
        self._changed.set()
        return verdicts

    def _told(self, note: Any) -> None:
        match note:
            case Inside(first=first):
                if first:
                    spent = config.FleetFile(fleet=self._fleet.fleet, addresses=self._fleet.addresses)
                    config.write(self._home / "fleet.json", spent)
                self._inside.set()
            case Barred():
                self._barred = note
                self._inside.set()
            case ev.JobMoved(job=job, message=message) if job in self.live:
                if isinstance(message, Progress):
                    self.live[job].progress = message
                elif isinstance(message, Refused):
                    self.live[job].refused = message
            case ev.Answered(ticket=ticket) | Invited(request=ticket):
                future = self._answers.get(ticket)
                if future is not None and not future.done():
                    future.set_result(note)
            case _:
                pass
        self._changed.set()
