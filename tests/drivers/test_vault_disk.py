"""What else lies on a vault's disk: other writers at the same time, planted pipes and links, a careless umask."""

import errno
import os
import shutil
import stat
import subprocess
import sys

import pytest

from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.vault import files
from propolis.sdk.vault import Vault
from propolis.terms.errors import StoreError, VaultDamaged

PASSPHRASE = "correct horse"
SWTPM = pytest.param(
    "swtpm", marks=pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
)
WRITER = """
import sys
from propolis.sdk.vault import Vault
folder, tpm, secret, mine = sys.argv[1:5]
vault = Vault(folder, secret or None, tpm=tpm)
print("ready", flush=True)
sys.stdin.readline()
for number in range(15):
    vault.put(f"{mine}{number}", [mine.encode() * 1000])
    vault.put("shared", [mine.encode() * 1000], keep=30)
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and a umask are of POSIX")


@pytest.fixture
def small(tmp_path):
    """A vault by passphrase with one stored thing."""
    folder = tmp_path / "vault"
    made, _ = Vault.create(folder, passphrase=PASSPHRASE, tpm="none")
    made.put("a", [b"stored"])
    return folder


@pytest.mark.parametrize("home", ["none", SWTPM])
def test_two_processes_that_write_at_once_lose_nothing(home, tmp_path):
    folder, tpm, machine = tmp_path / "vault", "none", None
    if home == "swtpm":
        machine = Emulator(tmp_path / "tpm")
        machine.start()
        tpm = str(machine.socket)
    try:
        secret = None if machine else PASSPHRASE
        Vault.create(folder, passphrase=secret, tpm=tpm)
        words = [[sys.executable, "-c", WRITER, str(folder), tpm, secret or "", mine] for mine in ("x", "y")]
        writers = [subprocess.Popen(w, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for w in words]
        assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.wait(120) for writer in writers] == [0, 0]
        vault = Vault(folder, secret, tpm=tpm)
        names = sorted({item.name for item in vault.stored()} - {"shared"})
        assert names == sorted(f"{mine}{number}" for mine in "xy" for number in range(15))
        assert [item.version for item in vault.stored() if item.name == "shared"] == list(range(1, 31))
        assert vault.core.verify(deep=True) == []
        assert vault.core.unknown() == []
    finally:
        if machine:
            machine.kill()


@pytest.mark.parametrize("plant", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_what_is_no_file_is_told_and_never_waited_for(plant, small):
    (small / "vault").unlink()
    plant(small / "vault")
    with pytest.raises((StoreError, VaultDamaged)):
        Vault(small, PASSPHRASE, tpm="none")


def test_a_pipe_in_the_place_of_an_object_is_told(small):
    vault = Vault(small, PASSPHRASE, tpm="none")
    [thing] = (small / "objects").iterdir()
    thing.unlink()
    os.mkfifo(thing)
    with pytest.raises(StoreError, match="is no file"):
        vault.read("a")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_link_leads_a_writer_out_of_the_folder(link, small, tmp_path):
    """Somebody with the disk in hand leaves a link where the next state file will be written."""
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    link(other, small / "vault.new")
    Vault(small, PASSPHRASE, tpm="none").put("b", [b"more"])
    assert other.read_bytes() == b"mine"
    assert not (small / "vault").is_symlink()
    assert Vault(small, PASSPHRASE, tpm="none").read("b") == b"more"


def test_a_link_in_the_place_of_the_lock_is_refused(small, tmp_path):
    (small / "lock").unlink()
    (small / "lock").symlink_to(tmp_path / "made by us")
    with pytest.raises(StoreError, match="lock cannot be opened"):
        Vault(small, PASSPHRASE, tpm="none").put("b", [b"more"])
    assert not (tmp_path / "made by us").exists()


def test_a_sparse_file_costs_nothing(small):
    """A terabyte of holes in the place of the state, and of an object."""
    vault = Vault(small, PASSPHRASE, tpm="none")
    [thing] = (small / "objects").iterdir()
    os.truncate(thing, 1 << 40)
    with pytest.raises(VaultDamaged, match="cut or grown"):
        vault.read("a")
    os.truncate(small / "vault", 1 << 40)
    with pytest.raises(VaultDamaged, match="too large"):
        Vault(small, PASSPHRASE, tpm="none")


def test_nobody_else_reads_it_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        folder = tmp_path / "vault"
        made, _ = Vault.create(folder, passphrase=PASSPHRASE, tpm="none")
        made.put("a", [b"stored"])
    finally:
        os.umask(before)
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_object_that_cannot_be_read_is_named(small, monkeypatch):
    """A disk that fails under an open file: which one, and not its descriptor's number."""
    vault = Vault(small, PASSPHRASE, tpm="none")
    [thing] = (small / "objects").iterdir()

    class Failing:
        def __init__(self, file):
            self.file = file

        def fileno(self):
            return self.file.fileno()

        def close(self):
            self.file.close()

        def read(self, size):
            raise OSError(errno.EIO, "Input/output error")

    opened = files._opened
    monkeypatch.setattr(files, "_opened", lambda path: Failing(opened(path)) if path == thing else opened(path))
    with pytest.raises(StoreError, match=f"{thing.name}: Input/output error"):
        vault.read("a")
