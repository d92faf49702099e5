"""What a node says of a guest in a fresh session: all it was given and did not end, and all that ended and nobody took."""

from propolis.decisions.privacy import requirement_for
from propolis.messages import jobs as say
from propolis.protocols.jobs.hosted import Hosted
from propolis.terms.job import BlobRef, JobSpec, Kind

JOB, GUEST = b"j" * 16, b"g" * 16
SPEC = JobSpec(
    job=JOB, name="t", kind=Kind.FUNCTION, tasks=20, program=BlobRef(blob=b"p" * 32, size=1),
    requirement=requirement_for("trusted-lenders"),
)  # fmt: skip


def test_an_announcement_names_what_runs_and_what_waits_each_once():
    guest = Hosted(id=GUEST, spec=SPEC, owner=b"o" * 32, serving=True)
    assert guest.give((7, 8, 9), (1, 2, 3), (10, 10, 10)) == ""
    assert guest.end(7, 1)
    ended = say.TasksEnded(job=JOB, guest=GUEST, indices=(1,), attempts=(7,), milliseconds=1.0)
    guest.unsent.append((ended, (b"sealed",)))
    told = guest.announcement()
    assert dict(zip(told.attempts, told.indices, strict=True)) == {7: 1, 8: 2, 9: 3}
    assert told.serving
