"""A hostile owner that ends its job while its program is on the way: what arrives afterwards stays on nobody's disk."""

import asyncio

import msgspec
import pytest
from hub import KNOWN, OWNER, SPEC, Zero

from propolis.adapters.blobs.files import FileBlobs
from propolis.messages import jobs as say
from propolis.orchestrator.assembly import Orchestrator
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.desk import DispatcherConfig
from propolis.protocols.jobs.dispatcher import Dispatcher
from propolis.protocols.machine import Mail, WorkDone, WorkFailed
from propolis.terms.job import BlobRef

SIZE = 1 << 30


class Desk:
    """A dispatcher whose programs are on the way until told otherwise."""

    def __init__(self, **config):
        self.machine, self.fetching, self.dropped, self.refused = (
            Dispatcher(Zero(), 1, KNOWN, DispatcherConfig(**config)),
            {},
            [],
            [],
        )
        self.tell(session.OwnerEntered(OWNER))

    def tell(self, event):
        for out in self.machine.handle(event, 1.0):
            if isinstance(out, ev.FetchProgram):
                self.fetching[out.program.blob] = out.ticket
            elif isinstance(out, ev.DropProgram):
                self.dropped.append(out.program.blob)
            elif isinstance(out, Mail) and isinstance(out.message, say.Refused):
                self.refused.append(out.message.reason)
        self.machine.check()

    def submit(self, number, **changes):
        job, program = bytes([number]) * 16, BlobRef(blob=bytes([number]) * 32, size=SIZE)
        spec = msgspec.structs.replace(SPEC, job=job, program=program, **changes)
        self.tell(session.Said(OWNER, say.Submit(spec=spec), ()))
        return spec

    def stop(self, spec):
        self.tell(session.Said(OWNER, say.Stop(job=spec.job), ()))


@pytest.mark.parametrize(
    "end", [WorkDone, lambda ticket: WorkFailed(ticket, "wire.unreachable", "")], ids=["whole", "in part"]
)
@pytest.mark.parametrize("forgotten", [False, True])
def test_a_program_that_arrives_after_its_job_ended_is_dropped(end, forgotten):
    desk = Desk(max_jobs_per_owner=1)
    spec = desk.submit(1)
    desk.stop(spec)
    if forgotten:
        desk.submit(2)
        assert spec.id not in desk.machine.desk.jobs
    desk.dropped.clear()
    desk.tell(end(desk.fetching[spec.program.blob]))
    assert desk.dropped == [spec.program.blob]


def test_programs_on_the_way_count_though_their_jobs_ended():
    desk = Desk(max_program_bytes_per_owner=3 * SIZE)
    for number in range(1, 9):
        desk.stop(desk.submit(number))
    assert len(desk.fetching) == 3
    assert all("quota for programs" in reason for reason in desk.refused)


@pytest.mark.timeout(120)
async def test_what_came_for_nobody_is_gone_at_the_next_start(tmp_path):
    left = FileBlobs(tmp_path / "blobs", reserve=0)
    left.write(bytes(32), 0, b"of a job that ended, whose fetch was cut by the start")
    up, orchestrator = asyncio.Event(), Orchestrator(tmp_path)
    serving = asyncio.create_task(orchestrator.serve(lambda _: up.set()))
    await asyncio.wait_for(up.wait(), 60)
    assert not left.chunks(bytes(32))
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
