"""A vault: create, open, store, fetch, and the life of its key: new PIN, approval, revocation, recovery (docs/specs/vault.md).

`Vault` is what faces hold. It works over any folder and chip; `propolis.node.vaulting` picks them for this machine.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from propolis.crypto.vault import code as codes
from propolis.crypto.vault import conditions as demands
from propolis.crypto.vault import index as shelf
from propolis.crypto.vault import state as files
from propolis.crypto.vault import wraps
from propolis.crypto.vault.state import Header, PassphraseHome, TpmHome
from propolis.decisions import vault as verdicts
from propolis.ports.entropy import Entropy
from propolis.ports.vault import ChipHome, Folder
from propolis.runtime.vault import objects, opening
from propolis.runtime.vault.homes import ByPassphrase, InTpm, Wish, checked_pin, needed, place, sealed
from propolis.runtime.vault.opening import Opened, Unlocked
from propolis.runtime.vault.writing import PATIENCE, Desk, replaced_key
from propolis.terms.errors import (
    ConfigError,
    TpmError,
    VaultDamaged,
    VaultError,
    VaultRevoked,
    VaultRolledBack,
    WrongSecret,
)
from propolis.terms.vault import ID_BYTES, KEY_BYTES, MAX_APPROVALS, Approval, ObjectId, Stored, VaultId

NOTHING_TO_APPROVE = "this vault is opened by a passphrase, which depends on no state of the machine"


class World(NamedTuple):
    """What a vault stands on; `now` gives seconds since 1970."""

    folder: Folder
    chip: ChipHome | None
    entropy: Entropy
    now: Callable[[], int]


class Vault:
    """An open vault. Not for threads; other processes may have it open, too, and one of all of them writes at a time."""

    def __init__(self, world: World, found: Opened, notes: tuple[str, ...] = ()) -> None:
        """Use `create` or `open`. `notes`: what the opening found that a person should know."""
        self._world = world
        self._desk = Desk(world.folder, world.chip, world.entropy, world.now, found)
        self.notes = notes

    # -- how one comes to be open

    @classmethod
    def create(cls, world: World, wish: Wish) -> tuple["Vault", str]:
        """Make a vault; return it and its recovery code, which is kept nowhere. Raises ConfigError where there is one."""
        with world.folder.locked():
            opening.vacant(world.folder)
            vault, kek = VaultId(world.entropy.draw(ID_BYTES)), world.entropy.draw(KEY_BYTES)
            code = world.entropy.draw(codes.SECRET_BYTES)
            placed = place(wish, kek, vault, 1, 1, code=code, chip=world.chip, entropy=world.entropy)
            header = Header(
                format=files.FORMAT,
                vault=vault,
                epoch=1,
                generation=placed.generation,
                counter=placed.counter,
                home=placed.home,
                recovery=wraps.by_recovery(kek, wraps.recovery_public(code, vault), vault, 1),
            )
            bound = files.digest(files.encode(header))
            data = files.join(kek, header, shelf.seal(kek, vault, {}, bound, world.entropy.draw(shelf.SALT_BYTES)))
            world.folder.replace(data)
        return cls(world, Opened(data=data, header=header, kek=kek, index={})), codes.written(code)

    @classmethod
    def open(cls, world: World, secret: str | None = None) -> "Vault":
        """Open by the vault's own home: `secret` is its PIN or passphrase, where it has one.

        Raises WrongSecret, PolicyChanged, VaultForeign, VaultRevoked, VaultRolledBack, VaultDamaged, TpmError, StoreError.
        """
        unlock = opening.by_secret(world.chip, secret)
        vault = cls(world, opening.opened(world.folder, unlock))
        for _ in range(opening.TRIES):
            try:
                vault.notes = vault._look_around()
                break
            except VaultRevoked:  # somebody began a new epoch since we opened it
                vault = cls(world, opening.opened(world.folder, unlock))
        return vault

    def _look_around(self) -> tuple[str, ...]:
        notes = []
        if self._desk.settle():
            notes.append("the last change was cut in the middle and was completed now")
        if unknown := self._desk.unknown():
            notes.append(
                f"{len(unknown)} object files are not in the index: the file `vault` may be an older copy than they are"
            )
        return tuple(notes)

    @classmethod
    def recover(
        cls, world: World, code: str, wish: Wish, *, new_code: Callable[[str], object] | None = None
    ) -> "Vault":
        """Open by the recovery code and give the key a new home here, with counters of its own.

        Nothing of the old home opens the result. What the counters said against this copy is accepted on the holder's word
        and is in `notes`. `new_code` as of `revoke`. Raises WrongSecret, VaultDamaged, TpmError, StoreError.
        """
        secret = codes.read(code)
        vault = cls(world, opening.opened(world.folder, opening.by_code(secret)))
        said = vault._said_against()
        vault._move_in(wish, vault._fresh_code(new_code) or secret)
        vault.notes = (*said, *vault.notes, *vault._look_around())
        return vault

    def _fresh_code(self, tell: Callable[[str], object] | None) -> bytes | None:
        """Tell a new recovery code before it counts: were it told after, a kill in between would lose it."""
        if tell is None:
            return None
        fresh = self._world.entropy.draw(codes.SECRET_BYTES)
        tell(codes.written(fresh))
        return fresh

    def _said_against(self) -> tuple[str, ...]:
        """Return what this machine's TPM says against this copy, for the person who accepts it."""
        header = self._desk.current.header
        if not verdicts.wanted(header):
            return ()
        if self._world.chip is None:
            return ("no TPM was asked: whether this copy is the newest one, or a revoked one, nobody can say here",)
        try:
            opening.agreed(header, self._world.chip)
        except (TpmError, VaultError) as error:
            return (f"accepted on your word: {error}",)
        return ()

    def _move_in(self, wish: Wish, code: bytes) -> None:
        world, desk = self._world, self._desk
        with world.folder.locked(PATIENCE):
            desk.refresh()
            found, before = desk.current, desk.current.header
            kek, epoch = world.entropy.draw(KEY_BYTES), before.epoch + 1
            generation = before.generation + 1
            placed = place(
                wish,
                kek,
                found.vault,
                epoch,
                generation,
                code=code,
                chip=world.chip,
                entropy=world.entropy,
            )
            header = msgspec.structs.replace(
                before,
                epoch=epoch,
                generation=placed.generation,
                counter=placed.counter,
                home=placed.home,
                recovery=wraps.by_recovery(kek, wraps.recovery_public(code, found.vault), found.vault, epoch),
            )
            desk.commit(replaced_key(desk, kek), header=header, kek=kek, keeps_generation=True)
            self._leave(before)

    def _leave(self, before: Header) -> None:
        """Take a former home's counters out of the TPM, if it is this one: what they guarded never opens again."""
        if self._world.chip is None:
            return
        for counter in verdicts.wanted(before):
            try:
                self._world.chip.undefine(counter)
            except TpmError as error:
                self.notes = (*self.notes, f"the former counter {counter:#x} stays in the TPM: {error}")

    # -- what it holds

    def put(self, name: str, parts: Iterable[bytes], *, keep: int | None = None) -> Stored:
        """Store data as the next version of a name. `keep` newest versions stay, from now on (at first 1)."""
        return objects.put(self._desk, name, parts, keep)

    def get(self, name: str, version: int | None = None) -> tuple[Stored, Iterator[bytes]]:
        """Return a version (None: the newest) and its bytes in chunks of 64 KiB. Raises UnknownObject, VaultDamaged."""
        return objects.get(self._desk, name, version)

    def remove(self, name: str, version: int | None = None) -> int:
        """Forget a version, or all of a name; return how many. Raises UnknownObject."""
        return objects.remove(self._desk, name, version)

    def stored(self) -> list[Stored]:
        """Return every version, by name, oldest first."""
        self._desk.refresh()
        held = sorted(self._desk.current.index.items())
        return [shelf.stored(name, version) for name, entry in held for version in entry.versions]

    def verify(self, *, deep: bool = False, seen: Callable[[int], object] = objects.unseen) -> list[str]:
        """Return what is wrong with the stored files; `deep` reads and opens all of them."""
        self._desk.refresh()
        return objects.verify(self._desk, deep=deep, seen=seen)

    def unknown(self) -> list[ObjectId]:
        """Return object files that the index does not name."""
        return self._desk.unknown()

    @property
    def header(self) -> Header:
        """The header as it is now."""
        return self._desk.current.header

    # -- the life of its key

    def revoke(self, secret: str | None, *, new_code: Callable[[str], object] | None = None) -> None:
        """Begin a new epoch: a new key, every data key re-wrapped; a TPM with counters never opens an older copy again.

        `secret` is the PIN or passphrase from now on: the same, or another (None: no PIN). `new_code` is told a new recovery
        code before anything changes; keep the old one until this returns. It opens older copies for ever: no TPM is asked.
        Raises WrongSecret, TpmError, StoreError, VaultError.
        """
        desk, entropy = self._desk, self._world.entropy
        checked_pin(secret)
        with desk.writing() as found:
            before, kek = found.header, entropy.draw(KEY_BYTES)
            epoch, fresh = before.epoch + 1, self._fresh_code(new_code)
            public = wraps.recovery_public(fresh, found.vault) if fresh else before.recovery.public
            header = msgspec.structs.replace(
                before,
                epoch=epoch,
                home=self._renewed(before, kek, epoch, secret),
                recovery=wraps.by_recovery(kek, public, found.vault, epoch),
            )
            desk.commit(replaced_key(desk, kek), header=header, kek=kek)

    def _renewed(self, before: Header, kek: bytes, epoch: int, secret: str | None) -> TpmHome | PassphraseHome:
        vault, home = VaultId(before.vault), before.home
        if isinstance(home, PassphraseHome):
            if not secret:
                raise WrongSecret("the new epoch needs a passphrase")
            return wraps.by_passphrase(kek, secret, vault, epoch, self._world.entropy.draw(16), cost=home.cost)
        limit = home.epoch_limit + 1 if home.epoch_counter else 0
        draft = msgspec.structs.replace(home, pin=secret is not None, epoch_limit=limit)
        return sealed(draft, kek, vault, secret, needed(self._world.chip))

    @classmethod
    def approve_by_code(cls, world: World, code: str) -> "Vault":
        """Approve the machine's registers as they are now, with the recovery code. Raises WrongSecret, VaultError, TpmError."""
        secret = codes.read(code)
        found = opening.opened(world.folder, opening.by_code(secret))
        admin = wraps.admin_key(secret, found.vault)
        return cls._approve(world, admin, lambda header, home, approval: Unlocked(found.kek, {}))

    @classmethod
    def approve_by_key(cls, world: World, admin: ec.EllipticCurvePrivateKey, pin: str | None) -> "Vault":
        """Approve them with an admin key of its own; the TPM opens the vault by that approval."""

        def unlock(header: Header, home: TpmHome, approval: Approval) -> Unlocked:
            trial = msgspec.structs.replace(home, approvals=(approval,))
            return opening.from_tpm(header, trial, needed(world.chip), pin)

        return cls._approve(world, admin, unlock)

    @classmethod
    def _approve(
        cls,
        world: World,
        admin: ec.EllipticCurvePrivateKey,
        unlock: Callable[[Header, TpmHome, Approval], Unlocked],
    ) -> "Vault":
        data = opening.load(world.folder)
        state = files.split(data)
        header, home = state.header, state.header.home
        if not isinstance(home, TpmHome):
            raise ConfigError(NOTHING_TO_APPROVE)
        if demands.point(admin) != home.admin:
            raise WrongSecret(
                "this key is not the one that approves for this vault", hint="use the key of its creation"
            )
        asked = files.conditions_of(VaultId(header.vault), home)
        # it says which registers are signed for, and nothing has vouched for the header yet
        if not demands.genuine(home.approvals[-1], asked):
            raise VaultDamaged("the file `vault` was altered: its newest approval is not the admin key's")
        seen = opening.agreed(header, needed(world.chip))
        registers = [register for register, _ in home.approvals[-1].values]
        approval = demands.approve(
            admin,
            {register: seen.registers[register] for register in registers},
            asked.ref,
        )
        unlocked = unlock(header, home, approval)
        found = opening.believed(data, state, Unlocked(unlocked.kek, seen.counts))
        vault = cls(world, found)
        vault._keep(approval)
        return vault

    def _keep(self, approval: Approval) -> None:
        with self._desk.writing() as found:
            home = found.header.home
            if not isinstance(home, TpmHome):
                raise VaultRolledBack("the vault was moved to a passphrase meanwhile")
            others = tuple(old for old in home.approvals if old.values != approval.values)
            kept = (*others, approval)[-MAX_APPROVALS:]
            header = msgspec.structs.replace(found.header, home=msgspec.structs.replace(home, approvals=kept))
            self._desk.commit(found.index, header=header)


__all__ = ["ByPassphrase", "InTpm", "Vault", "Wish", "World"]
