"""`propolis vault` as people type it: secrets by file or stdin, exit codes, what to do next; over an emulated TPM and without."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import propolis as package
from propolis.adapters.tpm.client import Tpm
from propolis.adapters.tpm.emulator import Emulator
from propolis.adapters.world.system import SystemEntropy
from propolis.cli import bar
from propolis.cli.show import SafeConsole
from propolis.runtime.ending import Exit
from propolis.terms.errors import TpmMissing

needs_swtpm = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm")
CODE = re.compile(r"\b(?:[0-9A-Z]{4}-){8}[0-9A-Z]{4}\b")


class Person:
    """At a keyboard, in a folder, with a home."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options
        (folder / "pw").write_text("correct horse battery\n")
        (folder / "pin").write_text("2580\n")
        (folder / "data").write_bytes(os.urandom(300_000))

    def __call__(self, verb, *words, code=Exit.OK, stdin=b""):
        command = [sys.executable, "-m", "propolis", "--home", "home", "vault", verb, *map(str, words), *self.options]
        done = subprocess.run(command, cwd=self.folder, input=stdin, capture_output=True, timeout=90, check=False)
        assert done.returncode == code, (done.stdout[-2000:], done.stderr[-2000:])
        return done

    def record(self, verb, *words, **more):
        return json.loads(self(verb, *words, "--json", **more).stdout)

    def created(self, *words):
        """Make a vault and keep its code in a file."""
        found = self.record("create", *words)
        (self.folder / "code").write_text(found["recovery_code"] + "\n")
        return found


PASSWORD, PIN, CODE_FILE = ("--secret-file", "pw"), ("--secret-file", "pin"), ("--code-file", "code")


@pytest.fixture
def person(tmp_path):
    return Person(tmp_path, "--tpm", "none")


@pytest.fixture
def owner(tmp_path):
    machine = Emulator(tmp_path / "tpm")
    machine.start()
    made = Person(tmp_path, "--tpm", str(machine.socket))
    made.machine = machine
    yield made
    machine.kill()


def test_a_day_with_a_passphrase(person):
    said = person("create", *PASSWORD).stdout.decode()
    assert len(CODE.findall(said)) == 1
    data = (person.folder / "data").read_bytes()
    person("put", "scans", "data", *PASSWORD)
    person("put", "scans", "-", "--keep", "2", *PASSWORD, stdin=b"by stdin")
    person("get", "scans", "-o", "out", "--version", "1", *PASSWORD)
    assert (person.folder / "out").read_bytes() == data
    assert (person.folder / "out").stat().st_mode & 0o777 == 0o600
    assert person("get", "scans", "-o", "-", *PASSWORD).stdout == b"by stdin"
    assert [row["version"] for row in person.record("list", *PASSWORD)] == [1, 2]
    assert person.record("remove", "scans", "--version", "1", *PASSWORD)["removed"] == 1
    assert person.record("open", "--all", *PASSWORD)["wrong"] == []
    assert person.record("status")["hardware_root"] == "none: no TPM"


def test_secrets_and_names_are_in_no_file_of_the_vault(person):
    code = person.created(*PASSWORD)["recovery_code"]
    person("put", "diagnosis", "data", *PASSWORD)
    data = (person.folder / "data").read_bytes()
    for path in (person.folder / "home/vault").rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        assert b"diagnosis" not in held
        assert b"correct horse" not in held
        assert code.encode() not in held
        assert data[1000:1032] not in held
        assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_there_stays(person):
    person("create", *PASSWORD)
    person("put", "a", "data", *PASSWORD)
    before = (person.folder / "pin").read_bytes()
    assert b"--force" in person("get", "a", "-o", "pin", *PASSWORD, code=Exit.USAGE).stderr
    assert (person.folder / "pin").read_bytes() == before
    person("get", "a", "-o", "pin", "--force", *PASSWORD)
    assert (person.folder / "pin").read_bytes() == (person.folder / "data").read_bytes()


def test_a_damaged_file_is_named_and_leaves_no_half_output(person):
    person("create", *PASSWORD)
    item = person.record("put", "a", "data", *PASSWORD)["object"]
    path = person.folder / "home/vault/objects" / item
    changed = bytearray(path.read_bytes())
    changed[200_000] ^= 1
    path.write_bytes(changed)
    said = person("get", "a", "-o", "out", *PASSWORD, code=Exit.CONFIG).stderr.decode()
    assert item in said
    assert "custody.vault.damaged" in said
    assert sorted(os.listdir(person.folder)) == ["data", "home", "pin", "pw"]
    assert len(person.record("open", "--all", *PASSWORD, code=Exit.CONFIG)["wrong"]) == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["open"], Exit.USAGE, "--secret-file"),
        (["open", "--secret-file", "pin"], Exit.REFUSED, "custody.vault.secret"),
        (["open", "--secret-file", "nowhere"], Exit.USAGE, "nowhere cannot be read"),
        (["get", "nothing", "-o", "out", *PASSWORD], Exit.USAGE, "data.object"),
        (["put", "a", "nowhere", *PASSWORD], Exit.USAGE, "nowhere is no file"),
        (["put", "a", "-", "--secret-file", "-"], Exit.USAGE, "both"),
        (["create", *PASSWORD], Exit.CONFIG, "already"),
        (["create"], Exit.CONFIG, "already"),  # before a secret is asked
        (["create", "--pin", "--vault", "other", *PIN], Exit.USAGE, "needs a TPM"),
        (["recover", "--code-file", "pw", *PASSWORD], Exit.REFUSED, "nine groups"),
        (["recover", "--code-file", "pw", *PASSWORD], Exit.REFUSED, "type it as it was written down"),
        (["pin", "--none", *PASSWORD], Exit.USAGE, "needs its passphrase"),
    ],
)
def test_what_is_off_is_said_with_its_code_and_the_way_out(person, words, code, said):
    person("create", *PASSWORD)
    assert said in person(*words, code=code).stderr.decode()


def test_where_there_is_no_vault_nobody_is_asked_a_secret(person):
    for verb in (["open"], ["list"], ["recover"], ["revoke"], ["status"]):
        told = person(*verb, code=Exit.CONFIG).stderr
        assert b"vault create" in told
        assert b"no vault in " in told
        assert b"/vault" in told


def test_a_vault_of_a_passphrase_has_nothing_to_approve_and_says_so_before_it_asks(person):
    person("create", *PASSWORD)
    assert b"depends on no state of the machine" in person("approve", code=Exit.CONFIG).stderr


@needs_swtpm
def test_a_day_with_a_tpm(owner):
    found = owner.created("--pin", *PIN)
    assert (found["kept_by"], found["emulated"]) == ("emulated TPM: no hardware root", True)
    owner("put", "a", "data", *PIN)
    (owner.folder / "new").write_text("9999\n")
    assert owner.record("pin", "--new-secret-file", "new", *PIN)["epoch"] == 2
    assert b"PIN is wrong" in owner("list", *PIN, code=Exit.REFUSED).stderr
    with Tpm(owner.machine.line(), SystemEntropy()) as tpm:
        tpm.pcr_extend(7, b"\1" * 32)
    new = ("--secret-file", "new")
    assert b"vault approve" in owner("list", *new, code=Exit.REFUSED).stderr
    assert "register 7" in owner.record("status", code=Exit.REFUSED)["standing"]
    owner("approve", *CODE_FILE)
    assert [row["name"] for row in owner.record("list", *new)] == ["a"]
    shutil.copytree(owner.folder / "home/vault", owner.folder / "copy")
    renewed = owner.record("revoke", "--new-code", *new)
    assert (renewed["epoch"], renewed["older_copies_open"]) == (3, False)
    assert b"custody.vault.revoked" in owner("list", "--vault", "copy", *new, code=Exit.REFUSED).stderr
    assert b"replaced" in owner("recover", *CODE_FILE, code=Exit.REFUSED).stderr
    (owner.folder / "code").write_text(renewed["recovery_code"])
    owner("recover", *CODE_FILE)
    assert owner.record("open", "--all")["wrong"] == []


@needs_swtpm
def test_a_vault_of_a_tpm_is_carried_to_a_machine_without_one(owner):
    owner.created()
    owner("put", "a", "data")
    other = Person(owner.folder, "--tpm", "none")
    assert b"recover" in other("list", code=Exit.FAILED).stderr
    other("recover", *CODE_FILE, *PASSWORD)
    assert [row["name"] for row in other.record("list", *PASSWORD)] == ["a"]


def test_a_bar_comes_after_two_seconds_and_on_a_terminal_alone(monkeypatch):
    moments = iter((0.0, 1.0, 2.5, 3.0))
    monkeypatch.setattr(bar, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    for terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(bar, "errors", SafeConsole(file=screen, force_terminal=terminal, width=100))
        with bar.counted("scans", 30) as shown:
            shown.add(10)
            assert screen.getvalue() == ""
            shown.add(10)
            shown.add(10)
        assert ("scans" in screen.getvalue()) is terminal
        moments = iter((0.0, 1.0, 2.5, 3.0))


def test_where_python_has_no_fcntl_everything_is_imported():
    """As on Windows: what needs it says so where it is used."""
    word = "import sys; sys.modules['fcntl'] = None; import propolis.cli.vault_keys, propolis.node.attesting; print('fine')"
    done = subprocess.run([sys.executable, "-c", word], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "fine\n", done.stderr


def test_the_sdk_in_few_lines(tmp_path):
    vault, code = package.Vault.create(tmp_path / "v", passphrase="correct horse battery", tpm="none")
    assert CODE.fullmatch(code)
    vault.put("model", b"weights", keep=2)
    (tmp_path / "f").write_bytes(b"from a file")
    vault.put("model", tmp_path / "f")
    again = package.Vault(tmp_path / "v", "correct horse battery", tpm="none")
    assert again.read("model") == b"from a file"
    again.save("model", tmp_path / "out", 1)
    assert (tmp_path / "out").read_bytes() == b"weights"
    back = package.Vault.recover(tmp_path / "v", code, passphrase="another passphrase", tpm="none")
    assert [item.version for item in back.stored()] == [1, 2]
    with pytest.raises(TpmMissing):
        package.Vault.create(tmp_path / "w", tpm="none")
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018
