"""Whose fault it was: strikes against nodes whose guests do not come to serve, and blame of tasks that guests die at."""

from propolis.protocols.jobs.book import Guest, Job, Strike
from propolis.protocols.jobs.desk import Desk
from propolis.terms.time import Instant


def strike(desk: Desk, job: Job, guest: Guest, reason: str, now: Instant) -> None:
    """A guest did not serve: let its node rest for this job, longer each time, then bar it.

    Strikes outlive sessions and the guests that did serve; only time without a strike wears them off, and the time in
    which a silent guest was waited for is no such time.
    """
    kept = job.strikes.setdefault(guest.node, Strike(0, reason, now, now))
    worn = int(max(0.0, guest.born - kept.at) / desk.config.strike_decay)
    kept.count, kept.reason, kept.at = max(0, kept.count - worn) + 1, reason, now
    kept.until = Instant(now + desk.config.strike_rest * 2.0**kept.count)
    if kept.count >= desk.config.max_strikes:
        job.barred[guest.node] = f"{kept.count} guests did not serve: {reason}"
    desk.retry(kept.until)
