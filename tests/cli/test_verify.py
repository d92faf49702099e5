"""`propolis verify`, as people run it: a verdict, a code, and an exit code that scripts can rely on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evidence"))
import mint

AT = ("--at", "2026-06-01T00:00:00Z")
VECTOR = ["instance-identity", "configuration", "executables", "file-system", "hardware", "runtime-opaque", "storage-opaque", "sourced-data"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    (folder / "report.bin").write_bytes(mint.snp_report())
    (folder / "quote.hex").write_text(mint.quote(3, mint.sgx_body()).hex() + "\n")
    (folder / "token.cbor").write_bytes(mint.psa())
    roots = folder / "roots"
    roots.mkdir()
    (roots / "amd.pem").write_text(mint.pem(*mint.snp_makers()))
    (roots / "intel.der").write_bytes(mint.intel()[0])
    (roots / "arm.der").write_bytes(mint.spki(mint.key("iak")))
    (roots / "README").write_text("no root\n")
    (folder / "vcek.der").write_bytes(mint.snp_leaf())
    (folder / "collateral.json").write_bytes(mint.collateral())
    return folder


def verify(folder, *words):
    command = [sys.executable, "-m", "propolis", "verify", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=folder, check=False)


def told(folder, *words, code):
    done = verify(folder, *words, "--json")
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_evidence_that_is_what_it_says(folder):
    words = ("report.bin", "--type", "snp-report/1", "--roots", "roots", "--endorsements", "vcek.der", *AT)
    found = told(folder, *words, "--nonce", mint.NONCE.hex(), code=0)
    assert (found["verdict"], found["reject_code"], found["fresh"]) == ("verified", None, True)
    assert found["technology"] == "sev-snp"
    assert "debug-off" in found["claims"]
    assert list(found["trust_vector"]) == VECTOR
    assert found["facts"]["vmpl"] == 0
    assert [name.split(":")[0] for name in found["ignored"]] == [str(Path("roots/README"))]


def test_evidence_that_is_refused_says_why(folder):
    words = ("report.bin", "--type", "snp-report", "--roots", "roots", "--endorsements", "vcek.der")
    found = told(folder, *words, *AT, "--nonce", "00" * 32, code=1)
    assert (found["verdict"], found["reject_code"], found["claims"]) == ("refused", "nonce", [])
    assert set(found["trust_vector"].values()) == {99}
    assert told(folder, *words, "--at", "2031-01-01T00:00:00+01:00", code=1)["reject_code"] == "cert_expired"
    assert (
        told(folder, "report.bin", "--type", "snp-report", "--endorsements", "vcek.der", *AT, code=1)["reject_code"]
        == "root_untrusted"
    )
    done = verify(folder, *words, *AT, "--nonce", "")
    assert done.returncode == 1
    assert "refused" in done.stdout
    assert "nonce" in done.stdout


def test_endorsements_may_be_several_and_lie_with_the_roots(folder):
    words = ("quote.hex", "--type", "sgx-quote/1", *AT)
    found = told(
        folder, *words, "--roots", "roots", "--endorsements", "collateral.json", "--endorsements", "vcek.der", code=0
    )
    assert found["facts"]["tcb-status"] == "UpToDate"
    assert "tcb-current" in found["claims"]
    found = told(folder, *words, "--roots", "roots/intel.der", "--roots", "collateral.json", code=0)
    assert found["facts"]["tcb-status"] == "UpToDate"
    assert told(folder, "token.cbor", "--type", "psa-token/2", "--roots", "roots", *AT, code=0)["technology"] == "psa"


@pytest.mark.parametrize(
    "words",
    [
        ("report.bin",),
        ("report.bin", "--type", "snp"),
        ("report.bin", "--type", "snp-report/9"),
        ("report.bin", "--type", "snp-report", "--nonce", "xyz"),
        ("report.bin", "--type", "snp-report", "--at", "yesterday"),
        ("report.bin", "--type", "snp-report", "--at", "2026-06-01"),
        ("report.bin", "--type", "snp-report", "--roots", "nowhere"),
        ("nowhere.bin", "--type", "snp-report"),
    ],
)
def test_a_command_line_that_is_off(folder, words):
    done = verify(folder, *words)
    assert done.returncode == 2
    assert "Usage: " in done.stderr or "Error" in done.stderr
