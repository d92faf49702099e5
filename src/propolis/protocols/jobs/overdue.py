"""What does not come in time: guests that stay silent, owners that grant no key, tasks that run far longer than others.

A node that only stays silent about its guests would otherwise hold their tasks and slots for ever.
"""

import heapq

from propolis.protocols.jobs import faults, feeding, ledger, shares
from propolis.protocols.jobs.book import Guest, Job, Phase
from propolis.protocols.jobs.desk import Alarm, Desk
from propolis.terms.identity import GuestId, JobId
from propolis.terms.time import Instant

GRANT_REST = 5.0
MOST_GRANT_REST = 300.0


def ring(desk: Desk, now: Instant) -> bool:
    """Act on every alarm that is due. Returns whether placement should look again."""
    again = False
    while desk.alarms and desk.alarms[0][0] <= now:
        at, _, what, subject = heapq.heappop(desk.alarms)
        job = desk.jobs.get(JobId(subject))
        match what:
            case Alarm.PLAN:
                desk.plans.discard(at)
                again = True
            case Alarm.GUEST:
                _guest_due(desk, GuestId(subject), at, now)
            case Alarm.RETIRED:
                _retired_due(desk, GuestId(subject), now)
            case Alarm.PROGRESS if job is not None and job.progress_due is not None and now >= job.progress_due:
                ledger.progress(desk, job, now, at_once=True)
            case Alarm.TAIL if job is not None:
                job.tail_due = None
                feeding.second(desk, job, now)
            case Alarm.FEED if job is not None:
                desk.feed_all(job)
            case _:
                pass
    return again


def _guest_due(desk: Desk, guest_id: GuestId, at: Instant, now: Instant) -> None:
    guest = desk.guests.get(guest_id)
    if guest is None or guest.armed != at:
        return
    guest.armed = None
    if guest.due is not None and guest.due > now:
        desk.arm(guest)
    elif guest.due is not None:
        _expire(desk, desk.jobs[guest.job], guest, now)


def _retired_due(desk: Desk, guest_id: GuestId, now: Instant) -> None:
    """A guest above its owner's share had time to finish what it holds; it goes if somebody else still waits for slots."""
    guest = desk.guests.get(guest_id)
    if guest is None:
        return
    job = desk.jobs[guest.job]
    if any(desk.wanted(other) > 0 for other in desk.jobs.values() if other.live and other.owner != job.owner):
        why = "is closed: others wait for their share of slots; what it ran runs again"
        desk.note(job, now, f"guest {guest.id[:4].hex()} on {desk.nodes[guest.node].report.name} {why}")
        desk.leaving[guest.id] = None
    else:
        desk.alarm(Instant(now + shares.RETIRE_SECONDS), Alarm.RETIRED, guest.id)


def _expire(desk: Desk, job: Job, guest: Guest, now: Instant) -> None:
    name = desk.nodes[guest.node].report.name
    desk.note(job, now, f"guest {guest.id[:4].hex()} on {name} is closed: {guest.phase} for too long")
    if guest.phase is Phase.OFFERED:  # its owner's silence, not its node's
        job.ungranted += 1
        job.rests_until = Instant(now + min(GRANT_REST * 2.0 ** min(job.ungranted - 1, 10), MOST_GRANT_REST))
        desk.retry(job.rests_until)
    else:
        faults.strike(desk, job, guest, f"its guests stay silent while {guest.phase}", now)
    desk.leaving[guest.id] = None
