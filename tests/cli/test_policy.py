"""`propolis fleet policy` and the faces of proof, over a fleet with emulated TPMs: nothing counts before the operator signs."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from propolis.runtime.ending import Exit
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits
from propolis.sdk.rehearsal import Rehearsal
from propolis.terms.errors import ConfigError, DataError, InvitationRefused

needs_swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="swtpm is not installed: apt install swtpm swtpm-tools"
)
EFI = bytearray(0x200)  # headers of a PE32+ without sections: the least that has a certificate table's entry
EFI[:2], EFI[0x3C:0x40], EFI[0x80:0x84] = b"MZ", (0x80).to_bytes(4, "little"), b"PE\0\0"
EFI[0x94:0x96], EFI[0x98:0x9A], EFI[0xD4:0xD8] = b"\xf0\0", b"\x0b\x02", b"\0\x02\0\0"
EFI[0x104:0x108] = b"\x10\0\0\0"
DIGEST, OPTION = "ab" * 32, "--i-rehearse-with-emulated-tpms"


def propolis(*words, home, text=None):
    command = [sys.executable, "-m", "propolis", "--home", str(home), *map(str, words)]
    wide = {**os.environ, "COLUMNS": "240"}  # a cell that folds is no place to look for words
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, input=text, env=wide)


def told(*words, home, code=Exit.OK, text=None):
    done = propolis(*words, "--json", home=home, text=text)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A fleet without nodes: policies need none."""
    with LocalFleet(tmp_path_factory.mktemp("fleet"), []) as fleet:
        yield fleet.home


def test_the_default_is_stated_as_such(home):
    shown = told("fleet", "policy", "show", home=home)
    assert (shown["number"], shown["default"], shown["signed_by"], shown["text"]) == (0, True, None, "")
    assert "# the default" in propolis("fleet", "policy", "show", home=home).stdout


def test_check_says_in_words_what_would_be_accepted_and_signs_nothing(home, tmp_path):
    (tmp_path / "p.toml").write_text(
        f'name = "ours"\nmeasurements = "clean"\nstrict_clock = true\n[[image]]\ndigest = "{DIGEST}"\nname = "kernel"\n'
        'claims = ["lockdown"]\n[[approved]]\nek = "000b' + "c" * 64 + '"\nmaker = "AMD"\nnote = "anna"\n'
    )
    found = told("fleet", "policy", "check", tmp_path / "p.toml", home=tmp_path)
    words = "\n".join(found["accepts"])
    for said in (
        "registers 0, 1, 2, 3, 4, 5, 6, 7, 10", "by AMD (anna), by your word alone", "'kernel'", "cannot read by software",
        "not shut down in good order", "violations", "refuses emulated TPMs",
    ):  # fmt: skip
        assert said in words
    loader = f'[[image]]\ndigest = "{DIGEST}"\nname = "shim"\nloader = true\n'
    assert "as a loader" in propolis("fleet", "policy", "check", "-", home=tmp_path, text=loader).stdout
    rehearses = f'[rehearsal]\ni_know_that_an_emulated_tpm_proves_nothing = true\nroots = ["{DIGEST}"]\n'
    assert (
        "REHEARSAL: accepts EMULATED" in propolis("fleet", "policy", "check", "-", home=tmp_path, text=rehearses).stdout
    )
    assert told("fleet", "policy", "show", home=home)["number"] == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('name = "a"\nstrict_clock = maybe', "line 2"),
        ("lease_seconds = 5", "lease_seconds"),
        ("unheard_of = 1", "unheard_of"),
        ('[[image]]\ndigest = "zz"\nname = "n"', "image[0].digest"),
        ("[rehearsal]\nroots = []\ni_know_that_an_emulated_tpm_proves_nothing = false", "rehearsal"),
    ],
)
def test_what_is_no_policy_is_refused_by_the_key_that_is_wrong(home, tmp_path, text, named):
    for words in (("check", "-"), ("set", "-")):
        done = propolis("fleet", "policy", *words, home=home, text=text)
        assert (done.returncode, done.stdout) == (Exit.CONFIG, "")
        assert named in done.stderr
    assert propolis("fleet", "policy", "check", tmp_path / "missing", home=home).returncode == Exit.USAGE


def test_the_operators_text_is_signed_as_it_stands_and_edits_keep_its_meaning(home, tmp_path):
    text = '# ours\nlease_seconds = 60\n\n[[image]]\ndigest = "' + "1" * 64 + '"\nname = "first"\n'
    signed = told("fleet", "policy", "set", "-", home=home, text=text)
    assert (signed["text"], signed["default"], len(signed["signed_by"])) == (text, False, 64)
    assert propolis("fleet", "policy", "show", home=home).stdout.endswith(text)
    added = told("fleet", "policy", "image", "add", DIGEST, "--name", "second", "--claim", "lockdown", home=home)
    assert added["number"] == signed["number"] + 1
    assert [each["name"] for each in added["policy"]["image"]] == ["first", "second"]
    assert added["policy"]["lease_seconds"] == 60
    again = propolis("fleet", "policy", "image", "add", DIGEST, "--name", "third", home=home)
    assert (again.returncode, "already, as 'second'" in again.stderr) == (Exit.CONFIG, True)
    (tmp_path / "boot.efi").write_bytes(EFI)
    third = told("fleet", "policy", "image", "add", tmp_path / "boot.efi", "--name", "third", home=home)
    assert third["digest"] == third["policy"]["image"][-1]["digest"]
    assert third["digest"] == hashlib.sha256(EFI[:0xD8] + EFI[0xDC:0x128] + EFI[0x130:]).hexdigest()
    (tmp_path / "no.efi").write_bytes(b"\x7fELF")
    wrong = propolis("fleet", "policy", "image", "add", tmp_path / "no.efi", "--name", "x", home=home)
    assert (wrong.returncode, "not an EFI image" in wrong.stderr) == (Exit.USAGE, True)
    with Fleet(home) as fleet:
        assert [image.claims for image in fleet.policy().image] == [(), ("lockdown",), ()]


def test_a_process_that_follows_another_of_the_same_home_signs_through_it(home):
    with Fleet(home) as holder:
        before = holder.mandate().number
        signed = told("fleet", "policy", "set", "-", home=home, text="lease_seconds = 77\n")
        assert signed["number"] == before + 1
        assert told("fleet", "policy", "show", home=home)["text"] == "lease_seconds = 77\n"
        assert holder.policy().lease_seconds == 77
        wrong = propolis("fleet", "policy", "approve", "nobody", "--yes", home=home)
        assert wrong.returncode == Exit.USAGE


def test_only_the_operator_signs_and_an_owner_that_joins_rehearses_by_name_alone(home, tmp_path):
    def owner(name, *words):
        invitation = told("invite", "owner", home=home)["invitation"]
        return told("join", invitation, *words, home=tmp_path / name)["rehearsal"]

    assert owner("second") is False
    assert owner("third", OPTION) is True
    assert json.loads((tmp_path / "third/owner/fleet.json").read_text())["rehearsal"] is True
    refused = propolis("fleet", "policy", "set", "-", home=tmp_path / "second", text="lease_seconds = 90")
    assert refused.returncode == Exit.REFUSED
    assert "only the fleet's operator sets its policy" in refused.stderr
    with Fleet(tmp_path / "second") as fleet, pytest.raises(InvitationRefused):
        fleet.set_policy("")


def test_an_acceptance_is_withdrawn_and_is_not_written_before_the_policy_is_signed(home, tmp_path):
    def owner_says(*words, at):
        return told("fleet", "policy", "rehearse", *words, home=at)["rehearsal"]

    joined = tmp_path / "joined"
    told("join", told("invite", "owner", home=home)["invitation"], OPTION, home=joined)
    assert owner_says(at=joined) is True
    assert owner_says("--stop", at=joined) is False
    refused = propolis("fleet", "policy", "set", "-", OPTION, home=joined, text="lease_seconds = 90")
    assert refused.returncode == Exit.REFUSED
    assert owner_says(at=joined) is False, "who may not sign has accepted nothing by trying"
    assert owner_says(OPTION, at=joined) is True
    assert propolis("fleet", "policy", "rehearse", OPTION, "--stop", home=joined).returncode == Exit.USAGE
    assert owner_says(OPTION, at=home) is True
    told("fleet", "policy", "set", "-", home=home, text="lease_seconds = 91")
    assert owner_says(at=home) is False, "it was not said again"


def test_a_node_that_is_not_there_is_approved_by_nobody(home):
    done = propolis("fleet", "policy", "approve", "nobody", "--yes", home=home)
    assert (done.returncode, "no nodes are called 'nobody'" in done.stderr) == (Exit.USAGE, True)


@needs_swtpm
def test_an_emulated_tpm_counts_by_the_operators_word_alone_and_says_so_everywhere(tmp_path):
    home, lender = tmp_path / "fleet", tmp_path / "lender"
    chips = Rehearsal(home)
    with LocalFleet(home, [NodeLimits(name="own")], rehearsal=chips) as fleet:
        with Fleet(home) as owner:
            invitation = owner.invite("node")
        node = Node(lender, invitation, chips.equip("lent"))
        try:
            _refused_then_counted(fleet, home, lender, node)
        finally:
            node.end()


def _refused_then_counted(fleet, home, lender, node):
    node.hears("this machine proves nothing: emulated: ")
    assert not (lender / "node/ear.jwt").exists()
    rows = told("nodes", home=home)
    assert {(row["proven"] == [], row["unproven"].split(":")[0]) for row in rows} == {(True, "emulated")}
    assert "emulated: own, lent" in propolis("nodes", home=home).stdout.replace("lent, own", "own, lent")

    text = fleet.rehearsal.policy()
    signed = propolis("fleet", "policy", "set", "-", home=home, text=text)
    assert OPTION in signed.stdout, "this owner is told that it would give no key"
    assert OPTION not in propolis("fleet", "policy", "set", "-", OPTION, home=home, text=text).stdout
    node.hears("this machine proved: EMULATED tpm, measured boot")
    assert (lender / "node/ear.jwt").stat().st_mode & 0o777 == 0o600

    rows = told("nodes", home=home)
    mine = next(row for row in rows if row["report"]["name"] == "lent")
    assert {each["technology"] for each in mine["proven"]} == {"tpm", "measured-boot"}
    assert all(each["emulated"] and "known-image" in each["claims"] for each in mine["proven"])
    assert "EMULATED tpm, measured boot" in propolis("nodes", home=home).stdout

    who = told("attest", "--identity", home=lender)
    assert (who["endorsement_key"], who["maker"], who["emulated"]) == (mine["ek"], "IBM", True)
    assert "CN=" in who["certificate"]["issuer"]
    assert "YES: it proves nothing" in propolis("attest", "--identity", home=lender).stdout
    result = told("attest", "--result", home=lender)
    assert (result["counts"], result["emulated"], result["status"]) == (True, True, "contraindicated")
    assert [result["trust_vector"][each] for each in ("instance-identity", "hardware", "storage-opaque")] == [97, 97, 0]
    seen = told("doctor", home=lender)
    assert {(each["technology"], each["emulated"]) for each in seen["proven"]} == {
        ("tpm", True),
        ("measured-boot", True),
    }
    assert next(row for row in seen["summary"] if row["what"] == "proven")["found"] == "EMULATED tpm, measured boot"
    assert seen["guarantees"] == told("doctor", home=home)["guarantees"], "it raises no level"

    (home / "job.py").write_text("def same(x):\n    return x\n")
    (home / "in.json").write_text("[1, 2, 3]")
    ran = told("run", home / "job.py:same", home / "in.json", "--privacy", "measured", home=home)
    assert ran["state"] == "done"
    granted = told("explain", ran["job"][:8], home=home)["granted"]
    assert granted
    assert all(each["emulated"] for one in granted for each in one["proven"])
    assert "EMULATED tpm, measured boot" in propolis("explain", ran["job"][:8], home=home).stdout

    _approved(home, mine)


def _approved(home, row):
    """The operator vouches for a key, once, after a look; the node is named, the maker is not guessed."""
    with Fleet(home) as owner, pytest.raises(DataError, match="does not say who made"):
        owner.approve("lent")
    wrong = propolis("fleet", "policy", "approve", "lent", "--maker", "a b", "--yes", home=home)
    assert (wrong.returncode, "'A B' is no maker's name" in wrong.stderr) == (Exit.USAGE, True)
    assert propolis("fleet", "policy", "approve", "lent", "--maker", "IBM", home=home, text="n\n").returncode != Exit.OK
    assert told("fleet", "policy", "show", home=home)["policy"]["approved"] == []
    done = propolis("fleet", "policy", "approve", "lent", "--maker", "ibm", "--yes", "--json", home=home)
    assert row["ek"] in done.stderr
    assert "attest --identity" in done.stderr
    assert json.loads(done.stdout)["policy"]["approved"] == [{"ek": row["ek"], "maker": "IBM", "note": "lent"}]
    with Fleet(home) as owner, pytest.raises(ConfigError, match="already"):
        owner.approve("lent", "IBM")


class Node:
    """A lender's terminal."""

    def __init__(self, home, invitation, socket):
        words = ["--home", str(home), "node", "join", "-", "--name", "lent", "--slots", "1"]
        command = [sys.executable, "-m", "propolis", *words, "--i-rehearse-with-an-emulated-tpm", str(socket)]
        self.said = home.with_suffix(".log")
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, text=True
            )
        self.process.stdin.write(invitation + "\n")
        self.process.stdin.close()

    def hears(self, words, seconds=40.0):
        """Wait for a line, said once."""
        until = time.monotonic() + seconds
        while words not in self.said.read_text() and time.monotonic() < until and self.process.poll() is None:
            time.sleep(0.05)
        assert self.said.read_text().count(words) == 1, self.said.read_text()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
