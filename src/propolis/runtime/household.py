"""A party with what every assembly gives it: a driver over its store, a post over its wires, its blobs on the same channels.

What differs between assemblies (who may read which blob, who does which work) they say before `start`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from propolis.ports.blobs import Blobs
from propolis.ports.clock import Clock
from propolis.ports.store import Store
from propolis.ports.wire import Wire
from propolis.protocols.machine import Action, Dial, Event, HangUp, Machine, Transmit
from propolis.runtime.blob_service import BlobService, MayRead
from propolis.runtime.driver import Driver
from propolis.runtime.post import Post
from propolis.terms.errors import PropolisError


class Household:
    """One party at work."""

    def __init__(
        self,
        party: Machine,
        wires: Sequence[Wire],
        store: Store,
        clock: Clock,
        *,
        tell: Callable[[Any], None] | None = None,
        failed: Callable[[PropolisError], None] | None = None,
        seen: Callable[[Event], None] | None = None,
    ) -> None:
        """`tell` hears the party's notes, `failed` what ended it, `seen` each event of the post before the party does."""
        self.driver = Driver(party, clock=clock, store=store, tell=tell, failed=failed)
        self._seen = seen
        self.post = Post(wires, store, self._happened)
        for kind, do in ((Dial, self.post.dial), (HangUp, self.post.hang_up), (Transmit, self.post.transmit)):
            self.driver.on(kind, do)
        self.driver.after_round(self.post.flush)

    def serve(self, blobs: Blobs, may_read: MayRead, *, visitors: bool = False) -> BlobService:
        """Serve our blobs to who may read them; `visitors`: also to peers that come for nothing else."""
        service = BlobService(blobs, self.post.reach, may_read)
        self.post.serve_blobs(service.serve, visitors=visitors)
        return service

    def start(self, *first: Action) -> None:
        """Begin; `first` are done before any event."""
        self.post.start()
        self.driver.start(*first)

    async def stop(self, *, keep_wires: bool = False) -> None:
        """End the party, then its lines and, unless another goes on with them, the wires."""
        await self.driver.stop()
        await self.post.stop(keep_wires=keep_wires)

    def _happened(self, event: Event) -> None:
        if self._seen is not None:
            self._seen(event)
        self.driver.post(event)
