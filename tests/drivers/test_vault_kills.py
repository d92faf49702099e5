"""A real process, killed with SIGKILL at any moment of its changes: what it had acknowledged is there, and nothing else is.

And what a large file costs in memory: as much as a small one.
"""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.vault.files import FileFolder
from propolis.node import vaulting
from propolis.ports.vault import Stage
from propolis.sdk.vault import Vault
from propolis.terms.errors import ConfigError, UnknownObject, VaultRevoked

PASSPHRASE = "correct horse"
ROUNDS, SEED = 14, 20
SWTPM = pytest.param(
    "swtpm", marks=pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
)
WRITER = """
import sys
from propolis.sdk.vault import Vault
folder, tpm, secret = sys.argv[1:4]
secret = secret or None
vault = Vault(folder, secret, tpm=tpm)
def number():
    return max((item.version for item in vault.stored() if item.name == "a"), default=0)
def say(word):
    sys.stdout.write(f"{word} {number()} {vault.core.header.epoch}\\n")
    sys.stdout.flush()
say("ready")
while True:
    vault.put("a", [bytes([number() + 1 & 255]) * 200_000] * 2, keep=3)
    say("put")
    if number() % 4 == 0:
        vault.core.revoke(secret)
        say("revoked")
    if number() % 6 == 0:
        vault.put("b", [b"beside"])
        vault.remove("b")
        say("removed")
"""


def one_life(rng, folder, tpm, secret):
    """Run a writer, kill it at some moment, return its last word: (version, epoch)."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, folder, tpm, secret or ""], stdout=subprocess.PIPE, text=True
    )
    words = [writer.stdout.readline()]
    assert words[0].startswith("ready"), words
    time.sleep(rng.uniform(0.0, 0.12))
    writer.send_signal(signal.SIGKILL)
    words += writer.stdout.readlines()
    writer.stdout.close()
    writer.wait()
    whole = [word for word in words if word.endswith("\n")]
    return tuple(map(int, whole[-1].split()[1:])), len(words)


@pytest.mark.parametrize("kind", ["passphrase", SWTPM])
def test_a_killed_writer_leaves_what_it_acknowledged(kind, tmp_path):
    rng, emulator, tpm, secret = random.Random(SEED), None, vaulting.NONE, PASSPHRASE
    if kind == "swtpm":
        emulator = Emulator(tmp_path / "tpm")
        emulator.start()
        tpm, secret = str(emulator.socket), None
    try:
        folder = tmp_path / "vault"
        if emulator:
            Vault.create(folder, tpm=tpm)
        else:
            make_cheap(folder)
        done = 0
        for _ in range(ROUNDS):
            (version, epoch), words = one_life(rng, str(folder), tpm, secret)
            done += words - 1
            found = Vault(folder, secret, tpm=tpm)
            versions = [item.version for item in found.stored() if item.name == "a"]
            newest = versions[-1] if versions else 0
            assert newest in (version, version + 1)
            assert found.core.header.epoch in (epoch, epoch + 1)
            for item in found.stored():
                if item.name == "a":
                    assert found.read("a", item.version) == bytes([item.version & 255]) * 400_000
            assert found.core.verify(deep=True) == []
            assert found.core.unknown() == []
            found.put("after", b"a kill", keep=1)
            files = FileFolder(folder).listing()
            assert {stage for _, stage in files} == {Stage.WHOLE}
            assert len(files) == len(found.stored())
        assert done > ROUNDS  # it did work before it was killed
    finally:
        if emulator:
            emulator.kill()


def make_cheap(folder):
    """A vault whose passphrase costs little, so that the time goes to what is tried."""
    from propolis.runtime.vault.vault import ByPassphrase
    from propolis.runtime.vault.vault import Vault as Core

    return Core.create(vaulting.world(folder, vaulting.NONE), ByPassphrase(passphrase=PASSPHRASE, cost=14))


@pytest.mark.parametrize("kind", ["passphrase", SWTPM])
def test_who_opens_while_another_writes_sees_whole_states_and_no_false_alarm(kind, tmp_path):
    """Every opening succeeds without a note; what it reads is right, or was removed meanwhile, or the epoch ended."""
    folder, emulator, tpm, secret = tmp_path / "vault", None, vaulting.NONE, PASSPHRASE
    if kind == "swtpm":
        emulator = Emulator(tmp_path / "tpm")
        emulator.start()
        tpm, secret = str(emulator.socket), None
        Vault.create(folder, tpm=tpm)
    else:
        make_cheap(folder)
    words = [sys.executable, "-c", WRITER, str(folder), tpm, secret or ""]
    writer = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    read = 0
    try:
        while read < 40:
            found = Vault(folder, secret, tpm=tpm)
            assert found.notes == ()
            with contextlib.suppress(UnknownObject, VaultRevoked):
                for item in found.stored():
                    if item.name == "a":
                        assert found.read("a", item.version) == bytes([item.version & 255]) * 400_000
                        read += 1
            assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
        if emulator:
            emulator.kill()


LARGE = """
import resource, sys
from propolis.sdk.vault import Vault
vault = Vault(sys.argv[1], sys.argv[2], tpm="none")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
vault.put("small", [b"x" * (1 << 20)] * 3)
sum(map(len, vault.stream("small")))
before = peak()
vault.put("large", (bytes([n & 255]) * (1 << 20) for n in range(300)))
assert sum(map(len, vault.stream("large"))) == 300 << 20
print(peak() - before)
"""


def test_three_hundred_megabytes_take_no_memory(tmp_path):
    make_cheap(tmp_path / "vault")
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "vault"), PASSPHRASE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 16  # MiB above what three megabytes took


def test_two_processes_do_not_write_at_once(tmp_path):
    """The second is told, and the first one's change is whole."""
    make_cheap(tmp_path / "vault")
    first, second = (Vault(tmp_path / "vault", PASSPHRASE, tpm=vaulting.NONE) for _ in range(2))

    def parts():
        with pytest.raises(ConfigError, match="another process writes"):
            second.put("b", b"2")
        assert second.stored() == []
        yield b"1"

    first.put("a", parts())
    assert second.read("a") == b"1"
    second.put("b", b"2")
    assert first.read("b") == b"2"
