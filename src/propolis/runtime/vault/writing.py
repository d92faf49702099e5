"""Changes to a vault: one at a time, each whole or not at all, in step with the TPM's counter (docs/specs/vault.md, 13 and 14).

The order of a change: object files to be dropped are marked, the state file is replaced, the TPM counts, object files move.
Whatever ends us in between, the next opening finds the old state or the new one and completes the rest.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import msgspec

from propolis.crypto.vault import index as shelf
from propolis.crypto.vault import state as files
from propolis.crypto.vault.state import Header, TpmHome
from propolis.decisions import vault as verdicts
from propolis.ports.entropy import Entropy
from propolis.ports.vault import ChipHome, Folder, Stage
from propolis.runtime.vault import opening
from propolis.runtime.vault.homes import needed
from propolis.runtime.vault.opening import Opened, Unlocked
from propolis.terms.errors import ConfigError, TpmError, VaultRevoked, VaultRolledBack
from propolis.terms.vault import ObjectId

PATIENCE = 2.0  # seconds that a writer waits: another one's small change, or a reader that completes what was cut


class Desk:
    """An open vault, and how it changes. Not for threads."""

    def __init__(
        self, folder: Folder, chip: ChipHome | None, entropy: Entropy, now: Callable[[], int], found: Opened
    ) -> None:
        """`now` gives seconds since 1970."""
        self.folder, self.chip, self.entropy, self.now = folder, chip, entropy, now
        self.current = found
        self._tidy = False

    def refresh(self) -> None:
        """Take over what another process wrote. Raises VaultRevoked, VaultRolledBack, VaultDamaged."""
        data = opening.load(self.folder)
        if data == self.current.data:
            return
        state, mine = files.split(data), self.current
        if state.header.vault == mine.header.vault and state.header.epoch > mine.header.epoch:
            raise VaultRevoked("the vault's key was replaced meanwhile", hint="open it again")
        found = opening.believed(data, state, Unlocked(mine.kek, {}))
        if found.header.generation <= mine.header.generation:
            raise VaultRolledBack("the vault's files were set back while it was open")
        self.current = found

    @contextmanager
    def writing(self) -> Iterator[Opened]:
        """Keep other writers out, finish what was cut, and give the state that is to be changed."""
        with self.folder.locked(PATIENCE):
            self.refresh()
            self._settle()
            if not self._tidy:
                self._collect()
                self._tidy = True
            yield self.current

    def settle(self) -> bool:
        """Finish what was cut, unless a writer is at it. Return whether a change was completed."""
        found = self.current
        if not found.counts or not verdicts.unfinished(found.header, found.counts):
            return False
        try:
            with self.folder.locked():
                self.refresh()
                return self._settle()
        except ConfigError:
            return False

    def _settle(self) -> bool:
        header = self.current.header
        if not verdicts.wanted(header):
            return False
        seen = opening.agreed(header, needed(self.chip))
        behind = verdicts.unfinished(header, seen.counts)
        for counter in behind:
            self.count(counter)
        return bool(behind)

    def _collect(self) -> None:
        """Complete moves that were cut, delete what no state names and none will (step 13)."""
        held = shelf.objects(self.current.index)
        listing = self.folder.listing()
        for stage in (Stage.PART, Stage.GONE):
            self.folder.move([item for item, at in listing if at is stage and item in held], stage, Stage.WHOLE)
        for item, stage in listing:
            if stage is not Stage.WHOLE and item not in held:
                self.folder.drop(item, stage)

    def unknown(self) -> list[ObjectId]:
        """Return object files in place that the index does not name: a sign that the state file is an older one.

        Only where nobody wrote while we looked: a writer marks what goes before its new state, and places what comes after.
        """
        for _ in range(opening.TRIES):
            self.refresh()
            listing = self.folder.listing()
            if opening.load(self.folder) == self.current.data:
                held = shelf.objects(self.current.index)
                return sorted(item for item, stage in listing if stage is Stage.WHOLE and item not in held)
        return []

    def commit(
        self,
        index: shelf.Index,
        *,
        header: Header | None = None,
        kek: bytes = b"",
        fresh: Collection[ObjectId] = (),
        gone: Collection[ObjectId] = (),
        keeps_generation: bool = False,
    ) -> None:
        """Make a new state the current one. `header` and `kek` where they change; generation goes up by one.

        `keeps_generation`: the header's generation is what its own new counter says already.
        """
        kek = kek or self.current.kek
        header = header or self.current.header
        if not keeps_generation:
            header = msgspec.structs.replace(header, generation=self.current.header.generation + 1)
        bound = files.digest(files.encode(header))
        sealed = shelf.seal(kek, self.current.vault, index, bound, self.entropy.draw(shelf.SALT_BYTES))
        data = files.join(kek, header, sealed)
        self._tidy = False
        self.folder.move(gone, Stage.WHOLE, Stage.GONE)
        self.folder.replace(data)
        before = self.current.header
        self.current = Opened(data=data, header=header, kek=kek, index=index)
        if not keeps_generation:
            self._count_up(before, header)
        self.folder.move(fresh, Stage.PART, Stage.WHOLE)
        for item in gone:
            self.folder.drop(item, Stage.GONE)
        self._tidy = True

    def _count_up(self, before: Header, after: Header) -> None:
        """Let the TPM count what was written: a new epoch first, then the change."""
        old, new = before.home, after.home
        if isinstance(old, TpmHome) and isinstance(new, TpmHome) and new.epoch_limit == old.epoch_limit + 1:
            self.count(new.epoch_counter)
        if after.counter:
            self.count(after.counter)

    def count(self, counter: int) -> None:
        """Count up. Raises TpmError, as `judge` words it; the vault completes it at its next opening."""
        try:
            needed(self.chip).increment(counter)
        except TpmError as error:
            raise verdicts.judge(error, pin=False) from error


def replaced_key(desk: Desk, new: bytes) -> shelf.Index:
    """Return the index with every data key under a new key. Raises VaultDamaged."""
    found = desk.current
    count = len(shelf.objects(found.index))
    nonces = [desk.entropy.draw(shelf.NONCE_BYTES) for _ in range(count)]
    return shelf.rewrapped(found.kek, new, found.vault, found.index, nonces)
