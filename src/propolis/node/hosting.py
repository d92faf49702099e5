"""A node's guests, for real: does the worker machine's actions with an executor, and turns guests' lives into events."""

import asyncio
import logging
from collections.abc import Callable

from propolis.crypto import identity
from propolis.messages import codec
from propolis.messages.envelope import Segment
from propolis.node import attesting
from propolis.node.attesting import Showing
from propolis.ports.executor import Executor, Guest
from propolis.ports.keyhome import KeyHome
from propolis.protocols.jobs import events as ev
from propolis.protocols.machine import Event
from propolis.runtime.blob_service import BlobService
from propolis.runtime.driver import Driver
from propolis.terms.capability import Offer
from propolis.terms.credential import Credential
from propolis.terms.errors import Crashed, PropolisError
from propolis.terms.identity import GuestId, JobId
from propolis.terms.job import Receipt

log = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0


class Hosting:
    """Guests by id."""

    def __init__(
        self,
        executor: Executor,
        keys: KeyHome,
        offer: Offer,
        blobs: BlobService,
        post: Callable[[Event], None],
        credential: Credential | None,
        showing: Showing | None,
    ) -> None:
        """`credential`: the operator's word on this node, shown in every receipt; `showing`: its TPM at work, if it has one."""
        self._credential = credential
        self._showing = showing
        self._executor = executor
        self._keys = keys
        self._offer = offer
        self._blobs = blobs
        self._post = post
        self._guests: dict[GuestId, tuple[Guest, int]] = {}
        self._jobs: dict[GuestId, JobId] = {}
        self._pumps: dict[GuestId, asyncio.Task[None]] = {}

    def attach(self, driver: Driver) -> None:
        """Do the worker's actions."""
        driver.on(ev.StartGuest, self._start)
        driver.on(ev.GrantGuest, self._grant)
        driver.on(ev.FeedGuest, self._feed)
        driver.on(ev.KillGuest, self._kill)

    async def close(self) -> None:
        """End every guest."""
        ends = [asyncio.ensure_future(guest.kill()) for guest, _ in self._guests.values()]
        if ends:
            await asyncio.wait(ends, timeout=CLOSE_SECONDS)  # the executor's own end takes whatever is left
        for pump in list(self._pumps.values()):
            pump.cancel()

    async def _start(self, action: ev.StartGuest) -> ev.Started:
        order = action.order
        guest = await self._executor.start(order)
        self._guests[GuestId(order.guest)] = (guest, order.slot)
        self._jobs[GuestId(order.guest)] = JobId(order.job)
        receipt = Receipt(
            node=self._keys.identity,
            job=order.job,
            guest=order.guest,
            guest_key=guest.key,
            isolation=guest.isolation,
            offer=self._offer,
            credential=self._credential,
        )
        data = codec.encode(receipt)
        evidence = await self._evidence(action, guest) if action.challenge is not None else ()
        return ev.Started(data, self._keys.sign(identity.RECEIPT, data), evidence)

    async def _evidence(self, action: ev.StartGuest, guest: Guest) -> tuple[Segment, ...]:
        assert action.challenge is not None
        if self._showing is None:
            return attesting.vouched_by_nothing(action.challenge)
        order = action.order
        return await self._showing.of_guest(JobId(order.job), GuestId(order.guest), guest.key, action.challenge)

    async def _grant(self, action: ev.GrantGuest) -> None:
        guest, _ = self._guests.get(action.guest, (None, 0))
        guest_job = self._jobs.get(action.guest)
        if guest is None or guest_job is None:
            raise Crashed("the guest is gone")
        try:
            await guest.grant(await self._unsealed(action, guest_job))
            await guest.load(self._blobs.pieces(action.program))
        except BaseException:  # nobody will serve this guest: it must not outlive its place in the book
            await guest.kill()
            self._over(action.guest)
            raise
        self._pumps[action.guest] = asyncio.create_task(self._pump(action.guest, guest))

    async def _unsealed(self, action: ev.GrantGuest, job: JobId) -> bytes:
        """Return the grant as the guest opens it: where its machine was challenged, the machine opens its half first."""
        if not action.challenged:
            return action.sealed
        if self._showing is None:
            raise attesting.sealed_in_vain()
        return await self._showing.opened(job, action.guest, action.sealed)

    async def _pump(self, guest_id: GuestId, guest: Guest) -> None:
        """Report results until the guest ends. Whatever ended it, its slot is free only when nothing of it is left."""
        code, reason = Crashed.code, "ended by the agent"
        try:
            while True:
                self._post(ev.GuestReported(guest_id, tuple(await guest.outputs())))
        except PropolisError as error:
            code, reason = error.code, str(error)
        except Exception as error:
            log.exception("a guest could not be served")
            reason = f"the guest could not be served: {error!r}"[:500]
        finally:
            await guest.kill()
            self._over(guest_id)
        self._post(ev.GuestEnded(guest_id, code, reason))

    async def _feed(self, action: ev.FeedGuest) -> None:
        guest, _ = self._guests.get(action.guest, (None, 0))
        if guest is not None:
            await guest.run(action.inputs)

    async def _kill(self, action: ev.KillGuest) -> None:
        guest, _ = self._guests.get(action.guest, (None, 0))
        if guest is not None:
            await guest.kill()
        self._over(action.guest)
        self._post(ev.GuestEnded(action.guest, Crashed.code, "ended by the agent"))

    def _over(self, guest_id: GuestId) -> None:
        self._pumps.pop(guest_id, None)
        self._jobs.pop(guest_id, None)
        _, slot = self._guests.pop(guest_id, (None, -1))
        if slot >= 0:
            self._executor.warm(slot)
