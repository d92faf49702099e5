"""`propolis attest` and `propolis verify` together, over an emulated TPM: what it shows holds, and proves no hardware."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from propolis.adapters.tpm import rehearsal
from propolis.adapters.tpm.client import Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.world.system import SystemEntropy
from propolis.cli import attest
from propolis.decisions.appraisal import tpm2
from propolis.decisions.appraisal.firmware import Kind
from propolis.runtime.ending import Exit

needs_swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm swtpm-tools"
)
REHEARSE = "--i-rehearse-with-an-emulated-tpm"
NONCE = "ab" * 32


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    home = tmp_path_factory.mktemp("tpm")
    made = Emulator(home / "state")
    made.manufacture(home / "root")
    made.start()
    yield made, home
    made.kill()


def propolis(*words):
    command = [sys.executable, "-m", "propolis", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def verified(file, *words):
    done = propolis("verify", file, "--type", "tpm2-quote", "--json", *words)
    return done.returncode, json.loads(done.stdout)


@needs_swtpm
def test_what_a_tpm_shows_is_verified_and_an_emulated_one_proves_nothing(machine, tmp_path):
    emulator, home = machine
    done = propolis("attest", REHEARSE, emulator.socket, "--nonce", NONCE, "--out", tmp_path / "e.json", "--json")
    assert done.returncode == Exit.OK, done.stderr
    told = json.loads(done.stdout)
    assert (told["registers"], told["emulated"]) == ("0,1,2,3,4,5,6,7", True)
    assert "test root" in told["endorsement"], "nobody takes it for a maker's word"
    code, found = verified(tmp_path / "e.json", "--nonce", NONCE, "--roots", home / "root")
    assert (code, found["verdict"], found["fresh"]) == (Exit.OK, "verified", True)
    assert found["facts"]["emulated"] is True
    assert found["claims"] == []
    assert found["status"] == "contraindicated"


@needs_swtpm
def test_under_the_makers_roots_the_same_evidence_is_refused(machine, tmp_path):
    emulator, home = machine
    assert propolis("attest", REHEARSE, emulator.socket, "--nonce", NONCE, "--out", tmp_path / "e.json").returncode == 0
    assert verified(tmp_path / "e.json", "--nonce", NONCE)[1]["reject_code"] == "ek_root"
    code, found = verified(tmp_path / "e.json", "--nonce", "ac" * 32, "--roots", home / "root")
    assert (code, found["reject_code"]) == (Exit.FAILED, "nonce")


@pytest.mark.parametrize("words", [["--nonce", "xy"], ["--nonce", "00" * 65], ["--pcrs", "0-99"], ["--pcrs", "a"]])
def test_what_no_tpm_takes_is_said_before_it_is_asked(words):
    assert propolis("attest", *words).returncode == Exit.USAGE


def test_an_emulator_that_is_not_there_is_named(tmp_path):
    done = propolis("attest", REHEARSE, tmp_path / "nobody")
    assert done.returncode != Exit.OK
    assert "no emulated TPM" in done.stderr


@needs_swtpm
def test_an_operator_learns_what_was_loaded_and_what_makes_it_a_known_image(machine, tmp_path):
    emulator, _ = machine
    image = rehearsal.image("kernel")
    with Tpm(emulator.line(), SystemEntropy()) as tpm:
        rehearsal.boot(tpm, emulator.socket.with_name(rehearsal.BOOT_LOG), image)
    done = propolis("attest", REHEARSE, emulator.socket, "--out", tmp_path / "e.json", "--json")
    assert json.loads(done.stdout)["loaded"] == [image.hex()]
    assert image.hex() in propolis("attest", REHEARSE, emulator.socket, "--out", tmp_path / "e.json").stdout


def test_a_firmware_log_that_has_nothing_of_the_quoted_bank_tells_of_nothing_loaded():
    """Old firmware writes SHA-1 alone; the quote is of SHA-256."""
    kernel = b"kernel"
    log = (4).to_bytes(4, "little") + int(Kind.BOOT_APPLICATION).to_bytes(4, "little") + hashlib.sha1(kernel).digest()
    log += len(kernel).to_bytes(4, "little") + kernel
    shown = tpm2.Evidence(ak=b"", attest=b"", signature=b"", values={4: bytes(32)}, event_log=log)
    assert attest._loaded(shown) == []
