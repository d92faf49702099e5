"""Where a job stands for its owner: what was opened here counts for more than any later word of the fleet."""

import pytest

from propolis.decisions.privacy import requirement_for
from propolis.messages import values
from propolis.messages.jobs import Progress, Refused, TaskResult
from propolis.owner import live as live_module
from propolis.owner.live import Live
from propolis.sdk.job import Job
from propolis.terms.errors import RequirementUnmet
from propolis.terms.job import BlobRef, JobSpec, JobState, Kind

SPEC = JobSpec(
    job=b"j" * 16, name="t", kind=Kind.FUNCTION, tasks=3, program=BlobRef(blob=bytes(32), size=1),
    requirement=requirement_for("trusted-lenders"),
)  # fmt: skip
NO = Refused(job=b"j" * 16, code="x", reason="because")


@pytest.fixture
def live():
    return Live(SPEC, bare_array=False)


def finish(live, count):
    for index in range(count):
        outcome = values.Outcome(ok=True, value=values.encode(index))
        live.outcomes[index] = (TaskResult(index=index, attempt=1, guest=b"", node=b""), outcome)


def failed(finished):
    return Progress(job=b"j" * 16, state=JobState.FAILED, finished=finished, running=0, guests=0, nodes=0)


def test_a_late_refusal_takes_no_results_away(live):
    finish(live, 3)
    live.refused = NO
    assert live.state() is JobState.DONE
    assert Job(None, live).results() == [0, 1, 2]
    assert Job(None, live).reason() == ""


def test_a_refusal_before_the_results_is_one(live):
    finish(live, 2)
    live.refused = NO
    assert live.state() is JobState.REFUSED
    with pytest.raises(RequirementUnmet, match="because"):
        Job(None, live).results()


def test_a_job_the_fleet_gave_up_is_failed_though_results_are_missing(live):
    finish(live, 1)
    live.progress = failed(1)
    assert live.state() is JobState.FAILED
    assert "1 of 3 results are here" in Job(None, live).reason()


def test_results_a_failed_job_is_said_to_have_are_waited_for_but_not_for_ever(live, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_module.time, "monotonic", lambda: now[0])
    live.progress = failed(3)
    assert live.state() is JobState.RUNNING
    now[0] += live_module.LAST_RESULTS_SECONDS - 1
    finish(live, 1)
    assert live.state() is JobState.RUNNING
    now[0] += live_module.LAST_RESULTS_SECONDS - 1
    assert live.state() is JobState.RUNNING, "one came: more may"
    now[0] += 2
    assert live.state() is JobState.FAILED
