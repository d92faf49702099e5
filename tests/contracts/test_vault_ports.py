"""Every folder of a vault and every home of its key pass the same suites: on disk and in memory, swtpm and the stand-in."""

import errno
import itertools
import shutil

import pytest

from propolis.adapters.tpm.client import Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.tpm.vaulting import TpmChip
from propolis.adapters.vault import files
from propolis.adapters.vault.chip import MemoryChip
from propolis.adapters.vault.files import FileFolder
from propolis.adapters.vault.memory import MemoryFolder
from propolis.adapters.world.system import SystemEntropy
from propolis.terms.errors import StoreFull
from propolis.testing import vault as suite

NEEDS = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")


@pytest.mark.parametrize("kind", ["memory", "files"])
@pytest.mark.parametrize("case", suite.FOLDER_SUITE, ids=lambda case: case.__name__)
def test_folder(case, kind, tmp_path):
    names = itertools.count()
    case(MemoryFolder if kind == "memory" else lambda: FileFolder(tmp_path / str(next(names))))


@pytest.mark.parametrize("place", ["object", "state"])
def test_a_full_disk_is_told_and_leaves_what_was(place, tmp_path, monkeypatch):
    """The disk fills up while data is written out."""
    folder = FileFolder(tmp_path / "vault")
    folder.replace(b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(files.os, "fsync", full)
        with pytest.raises(StoreFull):
            folder.write(suite.ONE, [b"data"]) if place == "object" else folder.replace(b"new")
    assert (folder.state(), folder.listing()) == (b"old", set())
    folder.replace(b"new")
    assert folder.state() == b"new"


def test_what_is_not_ours_in_the_folder_is_left_alone(tmp_path):
    folder = FileFolder(tmp_path)
    folder.replace(b"x")
    for name in ("notes.txt", "ab.part", "0" * 32 + ".txt", "G" * 32):
        (tmp_path / "objects" / name).write_bytes(b"")
    assert folder.listing() == set()


@pytest.fixture
def emulated(tmp_path):
    started = []

    def make():
        machine = Emulator(tmp_path / f"tpm{len(started)}")
        machine.start()
        started.append(machine)

        def extend():
            with Tpm(machine.line(), SystemEntropy()) as tpm:
                tpm.pcr_extend(7, bytes(32))

        return TpmChip(machine.line, SystemEntropy()), extend

    yield make
    for machine in started:
        machine.kill()


@NEEDS
@pytest.mark.parametrize("case", suite.CHIP_SUITE, ids=lambda case: case.__name__)
def test_chip_over_swtpm(case, emulated):
    case(emulated)


@pytest.mark.parametrize("case", suite.CHIP_SUITE, ids=lambda case: case.__name__)
def test_stand_in_chip(case):
    def make():
        chip = MemoryChip(SystemEntropy())
        return chip, lambda: chip.registers.update({7: b"\x01" * 32})

    case(make)
