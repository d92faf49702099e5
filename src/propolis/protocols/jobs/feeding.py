"""How much work a guest is given at a time: enough to keep it busy for a moment, so little that nobody waits for it."""

from typing import Protocol

from propolis.protocols.jobs.book import Guest, Job

FIRST_DEPTH = 2
SMOOTHING = 0.3


class Depths(Protocol):
    """The part of the dispatcher's configuration that feeding reads."""

    @property
    def batch_bytes(self) -> int:
        """Bytes of sealed input per message."""
        ...

    @property
    def batch_tasks(self) -> int:
        """Tasks per guest at a time, at most."""
        ...

    @property
    def target_ms(self) -> float:
        """Milliseconds of work a guest should hold."""
        ...


def smoothed(pace: float, sample: float) -> float:
    """Return the new milliseconds per task; samples are self-told, so they are clamped, and steer batch size only."""
    sample = min(max(sample, 0.001), 3_600_000.0) if sample == sample else 1.0
    return sample if pace == 0.0 else pace + SMOOTHING * (sample - pace)


def depth(job: Job, guest: Guest, serving: int, config: Depths) -> int:
    """Return how many tasks the guest may hold: a time's worth, and no more than its fair share of what is left."""
    if guest.pace == 0.0:
        return FIRST_DEPTH
    worth = int(config.target_ms / guest.pace)
    share = -(-(len(job.pending) + len(job.running)) // max(1, serving))
    return max(1, min(worth, share, config.batch_tasks))


def next_batch(job: Job, guest: Guest, serving: int, config: Depths) -> list[int]:
    """Take the indices to send to the guest now; empty when it holds enough. A blamed task travels alone."""
    held = len(guest.outstanding)
    room = depth(job, guest, serving, config) - held
    if room <= 0 or (held and room * 2 < held):
        return []
    if held and any(index in job.blamed for index in guest.outstanding.values()):
        return []
    batch: list[int] = []
    size = 0
    while len(batch) < room:
        index = job.next_pending()
        if index is None or (batch and size + job.sizes[index] > config.batch_bytes):
            break
        if index in job.blamed:
            if not held and not batch:
                batch.append(job.pending.popleft())
            break
        batch.append(job.pending.popleft())
        size += job.sizes[index]
    return batch
