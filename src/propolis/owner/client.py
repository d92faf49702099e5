"""The session of the process that holds the home: the owner party with its driver, post, blobs and chest."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from propolis.adapters.blobs.files import FileBlobs
from propolis.adapters.keyhome.file import FileKeyHome
from propolis.adapters.store.sqlite import SqliteStore
from propolis.adapters.wire.choice import open_wires
from propolis.adapters.world.system import SystemClock, SystemEntropy
from propolis.crypto import sealing
from propolis.messages import codec
from propolis.messages.jobs import Progress, Refused
from propolis.messages.membership import Invited, PolicySet, Removed, Role
from propolis.messages.rows import Rows
from propolis.owner import inviting
from propolis.owner.asking import Asking
from propolis.owner.chest import Chest, Owned
from propolis.owner.live import ENDED, Draft, Live
from propolis.parties.owner import InviteAsked, PolicyAsked, RemoveAsked, owner_party
from propolis.protocols import policies
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import ChannelClosed, DialFailed, Event
from propolis.protocols.membership.member import Barred, Inside
from propolis.runtime import config
from propolis.runtime.ending import turned_away
from propolis.runtime.household import Household
from propolis.runtime.known import known_today
from propolis.terms.credential import Credential
from propolis.terms.errors import (
    ConfigError,
    InvitationRefused,
    PeerUnreachable,
    PropolisError,
    ReleaseDenied,
    TooLarge,
    UnknownJob,
)
from propolis.terms.identity import JobId, NodeId
from propolis.terms.job import MAX_PROGRAM_BYTES, Granted, JobState, Receipt
from propolis.terms.policy import PolicyOrder

OPERATORS = (
    "the fleet's operator, its first owner, invites and removes, while its orchestrator has room to write it down"
)


class Client:
    """One owner's session; all methods belong to the loop's thread."""

    def __init__(
        self,
        home: Path,
        lives: dict[JobId, Live] | None = None,
        on_failure: Callable[[PropolisError], None] | None = None,
    ) -> None:
        """`lives` is shared with whoever waits on jobs; `on_failure` is told when the session ends by itself.

        Raises ConfigError.
        """
        self._home = home
        self._on_failure = on_failure or (lambda error: None)
        self._failure: PropolisError | None = None
        self._fleet = self.fleet_of(home)
        self.live: dict[JobId, Live] = {} if lives is None else lives
        self._owned: dict[JobId, Owned] = {}  # the jobs taken up in this session
        self._changed = asyncio.Event()
        self._inside = asyncio.Event()
        self._barred: Barred | None = None
        self._unreached = ""  # why the last dial failed
        self._asking = Asking(self._tell)
        self._household: Household | None = None
        self._store: SqliteStore | None = None

    @staticmethod
    def fleet_of(home: Path) -> config.FleetFile:
        """Return which fleet an owner's folder belongs to. Raises ConfigError."""
        fleet = config.read(home / "fleet.json", config.FleetFile)
        if fleet is None:
            raise ConfigError(f"{home} belongs to no fleet; start one with: propolis up, or join with an invitation")
        return fleet

    @classmethod
    def operator_of(cls, home: Path) -> NodeId:
        """Return whose word on nodes counts in an owner's fleet: the key in its invitation, or its own if that had none."""
        named = cls.fleet_of(home).operator
        return NodeId(bytes.fromhex(named)) if named else FileKeyHome(home / "identity").identity

    async def open(self, seconds: float) -> None:
        """Connect. Raises PeerUnreachable, InvitationRefused, ConfigError."""
        keys = self._keys = FileKeyHome(self._home / "identity")
        store = self._store = SqliteStore(self._home / "state.db", durable=True)
        self._chest = Chest(store)
        self._blobs = FileBlobs(self._home / "blobs")
        orchestrator = self._fleet.orchestrator
        wires = await open_wires(keys.seed_for_wire(), orchestrator.addresses, (), self._nobody)
        clock = SystemClock()
        party = owner_party(
            SystemEntropy(),
            orchestrator,
            known_today(),
            operator=self.operator_of(self._home),
            token=bytes.fromhex(self._fleet.token),
            removals=self._chest.removals(),
            policy=self._chest.policy(),
            rehearse=self._fleet.rehearsal,
            rows=self._chest.vouched(),
            epoch=time.time() - clock.now(),
        )
        household = self._household = Household(
            party, wires, store, clock, tell=self._told, failed=self._fail, seen=self._seen
        )
        household.serve(self._blobs, lambda peer, blob: peer == orchestrator.id)
        household.driver.on(ev.SealGrant, self._seal_grant)
        household.driver.on(ev.OpenResults, self._open_results)
        household.start()
        try:
            async with asyncio.timeout(seconds):
                await self._inside.wait()
        except TimeoutError as error:
            where = ", ".join(orchestrator.addresses)
            why = f": {self._unreached}" if self._unreached else ""
            raise PeerUnreachable(f"the orchestrator at {where} does not answer{why}") from error
        if self._failure is not None:
            raise self._failure
        if self._barred is not None:
            raise turned_away(self._barred.code, self._barred.reason)
        for owned in self._chest.jobs().values():
            if not self._chest.finished(owned).full:
                self._take_up(owned)

    async def close(self) -> None:
        """Disconnect; jobs go on as far as they can without us. Idempotent."""
        if self._household is not None:
            await self._household.stop()
        if self._store is not None:
            self._store.close()

    def _seen(self, event: Event) -> None:
        """What the post saw: for the person who waits, why nothing happens."""
        if isinstance(event, DialFailed | ChannelClosed) and event.reason:
            self._unreached = event.reason

    async def _nobody(self, peer: Any) -> bool:
        return False  # nobody dials an owner

    # -- jobs

    async def submit(self, draft: Draft, inputs: list[bytes]) -> Live:
        """Seal and keep a job, then ask the fleet for it; a job that is kept already is taken up.

        Raises StoreFull, and TooLarge for a program over what a guest takes.
        """
        job = draft.spec.id
        if job in self._chest.jobs():
            return await self.reopen(job)
        secret = self._chest.fresh_secret()
        plain = codec.encode(draft.program)
        if sealing.sealed_program_size(len(plain)) > MAX_PROGRAM_BYTES:
            raise TooLarge(f"the program takes {len(plain) >> 20} MiB; at most {MAX_PROGRAM_BYTES >> 20} MiB, sealed")
        ref = self._blobs.put(sealing.seal_program(sealing.program_root(secret, job), job, plain))
        challenge = self._chest.challenge(draft.spec.requirement)
        spec = msgspec.structs.replace(draft.spec, program=ref, challenge=challenge)
        owned = Owned(spec=spec, secret=secret, bare_array=draft.bare_array, born=time.time())
        sizes = self._chest.add(owned, inputs)
        self._owned[job] = owned
        live = self.live.setdefault(job, Live(spec, bare_array=owned.bare_array))
        self._tell(ev.SubmitAsked(spec, sizes))
        return live

    async def jobs(self) -> list[JobId]:
        """Return the jobs this home knows."""
        return list(self._chest.jobs())

    async def reopen(self, job: JobId) -> Live:
        """Take up a job of an earlier session. Raises UnknownJob."""
        if job not in self._owned:
            owned = self._chest.jobs().get(job)
            if owned is None:
                raise UnknownJob(f"this home knows no job {job.hex()[:8]}")
            self._take_up(owned)
        return self.live[job]

    def _take_up(self, owned: Owned) -> None:
        job = owned.spec.id
        self._owned[job] = owned
        live = self.live.setdefault(job, Live(owned.spec, bare_array=owned.bare_array))
        for index, pair in self._chest.results(owned).items():
            live.outcomes.setdefault(index, pair)
        if not live.complete:
            finished = self._chest.finished(owned).data()
            granted: tuple[Receipt, ...] = tuple(
                codec.decode(kept.receipt, Receipt) for kept in self._chest.granted(job)
            )
            self._tell(ev.SubmitAsked(owned.spec, self._chest.sizes(owned), finished, granted))

    async def granted(self, job: JobId) -> tuple[Granted, ...]:
        """Return what is kept of the guests that got a job's key."""
        return tuple(self._chest.granted(job))

    async def stop_job(self, job: JobId) -> None:
        """Ask for a job's end."""
        self._tell(ev.StopAsked(job))

    async def busy(self) -> bool:
        """Return whether a job of this home has not ended."""
        return any(self.live[job].state() not in ENDED for job in self._owned)

    async def changed(self, seconds: float) -> None:
        """Return when anything moved, or after `seconds`."""
        if self._failure is None:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for of 3.11 swallows a cancel that comes with the event
                    await self._changed.wait()

    async def ask(self, what: str, job: bytes = b"") -> Rows:
        """Ask the orchestrator. Raises PeerUnreachable, ConfigError."""
        answered = await self._asking.answer(lambda ticket: ev.QuestionAsked(ticket, what, job))
        if answered.reason:
            raise ConfigError(answered.reason)
        rows: Rows = answered.rows
        return rows

    async def invite(self, role: Role, seconds: float) -> str:
        """Ask for a fresh invitation, good for so long. Raises InvitationRefused."""
        until = int(time.time() + seconds)
        invited = await self._asking.answer(lambda ticket: InviteAsked(ticket, role, until))
        if not invited.token:
            raise InvitationRefused(invited.reason, hint=OPERATORS)
        return inviting.text(self._fleet.orchestrator, role, invited.token, until, self._keys)

    async def remove(self, member: NodeId, shown: Credential | None) -> None:
        """Remove a member as the fleet's operator. Raises InvitationRefused for everyone else, TooLarge."""
        if self._fleet.operator:
            raise InvitationRefused("only the fleet's operator removes members", hint=OPERATORS)
        seen = (shown, *self._chest.credentials(member))
        signed = inviting.removed(self._fleet.orchestrator.id, self._chest.removals(), member, seen, self._keys)
        answer = await self._asking.answer(lambda ticket: RemoveAsked(ticket, signed))
        if answer.reason:
            raise InvitationRefused(answer.reason, hint=OPERATORS)

    async def policy(self) -> PolicyOrder | None:
        """Return the fleet's appraisal policy, the newest its operator signed that we saw; None: the default."""
        signed = self._chest.policy()
        if signed is None:
            return None
        order: PolicyOrder = codec.decode(signed.data, PolicyOrder)
        return order

    async def set_policy(self, text: bytes) -> None:
        """Sign a policy as the fleet's operator. Raises ConfigError: it is none; InvitationRefused for everyone else."""
        if self._fleet.operator:
            raise InvitationRefused("only the fleet's operator sets its policy", hint=OPERATORS)
        signed = policies.sign(self._keys.sign, await self.policy(), self._fleet.orchestrator.id, text)
        answer = await self._asking.answer(lambda ticket: PolicyAsked(ticket, signed))
        if answer.reason:
            raise InvitationRefused(answer.reason, hint=OPERATORS)

    def _fail(self, error: PropolisError) -> None:
        """The driver ended (a full disk, a defect of ours): whoever waits here is told, instead of waiting for ever."""
        self._failure = error
        self._asking.fail(error)
        self._inside.set()
        self._changed.set()
        self._on_failure(error)

    def _tell(self, event: Event) -> None:
        if self._failure is not None:
            raise self._failure
        if self._household is None:
            raise PeerUnreachable("the session is closed")
        self._household.driver.post(event)

    # -- work and notes

    async def _seal_grant(self, work: ev.SealGrant) -> bytes:
        if work.emulated and not self.fleet_of(self._home).rehearsal:  # withdrawn since we began
            raise ReleaseDenied("this owner does not rehearse with emulated TPMs any more")
        return self._chest.grant(self._owned[work.job], work)

    async def _open_results(self, work: ev.OpenResults) -> list[bool]:
        live, owned = self.live[work.job], self._owned[work.job]
        verdicts: list[bool] = []
        for item, sealed in zip(work.items, work.sealed, strict=True):
            outcome = self._chest.opens(owned, item, bytes(sealed))
            verdicts.append(outcome is not False)
            if not isinstance(outcome, bool):
                live.outcomes[item.index] = (item, outcome)
        if live.complete:
            self._forget(work.job)
        self._changed.set()
        return verdicts

    def _forget(self, job: JobId) -> None:
        """Sealed inputs and program of an ended job are not needed any more; results stay."""
        self._chest.forget_inputs(job)
        self._blobs.drop(self._owned[job].spec.program.id)

    def _told(self, note: Any) -> None:
        match note:
            case Inside(first=first):
                if first:
                    config.write(self._home / "fleet.json", msgspec.structs.replace(self._fleet, token=""))
                self._inside.set()
            case Barred(code=code, reason=reason):
                self._barred = note
                if self._inside.is_set():  # we were in: whoever waits here is told
                    self._fail(turned_away(code, reason))
                self._inside.set()
            case ev.JobMoved(job=job, message=message) if job in self.live:
                if isinstance(message, Progress):
                    self.live[job].progress = message
                    if message.state is JobState.STOPPED:
                        self._forget(job)
                elif isinstance(message, Refused):
                    self.live[job].refused = message
            case (
                ev.Answered(ticket=ticket)
                | Invited(request=ticket)
                | Removed(request=ticket)
                | PolicySet(request=ticket)
            ):
                self._asking.answered(ticket, note)
            case _:
                pass
        self._changed.set()
