"""Everything that leaves the owner's process is tapped below the carrier's encryption; no plaintext marker is in it."""

import pytest

from propolis.runtime import blob_service, post
from propolis.sdk import Fleet
from propolis.sdk.local import LocalFleet, NodeLimits

MARKER = "MARKER-7c1e5f-PATIENT-DATA"


@pytest.fixture
def tapped(monkeypatch):
    """Collect what the post packs and what the blob service answers: the bytes handed to the carrier."""
    seen = bytearray()
    real_pack, real_answer = post.pack, blob_service.BlobService._answer

    def pack(packet):
        buffers = real_pack(packet)
        for part in buffers:
            seen.extend(part)
        return buffers

    def answer(self, wanted):
        data = real_answer(self, wanted)
        seen.extend(data or b"")
        return data

    monkeypatch.setattr(post, "pack", pack)
    monkeypatch.setattr(blob_service.BlobService, "_answer", answer)
    return seen


def test_no_plaintext_leaves_the_owner(tapped, tmp_path):
    source = f"def main(x):\n    print('{MARKER}-printed')\n    return x + '{MARKER}-returned'\n"
    with LocalFleet(tmp_path, [NodeLimits(name="n0")]) as local, Fleet(local.home) as fleet:
        job = fleet.submit_map(source, [f"{MARKER}-{n}" for n in range(20)], entry="main", privacy="trusted-lenders")
        assert job.wait(timeout=30) == "done"
        assert MARKER + "-returned" in job.results()[0]
    assert len(tapped) > 20 * 40, "the tap saw the job leave"
    assert MARKER.encode() not in tapped
    for name in ("orchestrator", "n0"):
        for path in (tmp_path / name).rglob("*"):
            if path.is_file():
                assert MARKER.encode() not in path.read_bytes(), f"plaintext rests in {path}"
    for path in (tmp_path / "logs").iterdir():
        assert MARKER.encode() not in path.read_bytes()
