"""What a guest is given next: lost work comes first, on whoever may run it."""

from test_answers import desk_with, node

from propolis.protocols.jobs import feeding
from propolis.protocols.jobs.book import Blame, Guest, Phase
from propolis.terms.identity import GuestId
from propolis.terms.time import Instant


def test_a_task_that_must_run_elsewhere_stays_in_front_for_the_others():
    """Behind everything it would be found again only at the job's end."""
    here, there = node(1), node(2)
    desk, job = desk_with(here, there, tasks=4)
    for index in range(4):
        job.stored.add(index)
    job.pending.extend(range(4))
    job.blamed[0] = Blame()
    job.blamed[0].nodes[here.id] = 1
    guests = [Guest(GuestId(bytes([n]) * 16), job.id, owner.id, Instant(0.0)) for n, owner in ((1, here), (2, there))]
    for guest in guests:
        guest.phase = Phase.SERVING
        desk.guests[guest.id] = guest
        job.guests.add(guest.id)
    job.serving = 2
    assert feeding.next_batch(desk, job, guests[0]) == [1, 2]
    assert list(job.pending) == [0, 3]
    assert feeding.next_batch(desk, job, guests[1]) == [0]
