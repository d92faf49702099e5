"""A vault in memory, over the stand-ins that passed the contract suites."""

import itertools

from propolis.adapters.vault.chip import MemoryChip
from propolis.adapters.vault.memory import MemoryFolder
from propolis.adapters.world.system import SystemEntropy
from propolis.runtime.vault.vault import ByPassphrase, InTpm, Vault, World

PASSPHRASE = "correct horse"


class Safe:
    """Folder, chip, and what opens them."""

    def __init__(self, wish=None):
        self.folder = MemoryFolder()
        self.chip = MemoryChip(SystemEntropy(), self.folder.step)
        ticks = itertools.count(1000)
        self.world = World(self.folder, self.chip, SystemEntropy(), lambda: next(ticks))
        self.wish = wish or InTpm()
        self.vault, self.code = Vault.create(self.world, self.wish)

    @property
    def secret(self):
        return self.wish.passphrase if isinstance(self.wish, ByPassphrase) else self.wish.pin

    def open(self, secret=None):
        return Vault.open(self.world, secret or self.secret)


def contents(vault):
    """Everything that a vault holds, read and authenticated."""
    return {(item.name, item.version): b"".join(vault.get(item.name, item.version)[1]) for item in vault.stored()}


def by_passphrase():
    return ByPassphrase(passphrase=PASSPHRASE, cost=14)
