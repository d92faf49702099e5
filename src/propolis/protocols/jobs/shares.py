"""Who may have how much: of a node that proved nothing yet, and of all slots when several owners want them.

Slots and speed are a node's own words. Until a job has accepted a result of a node, the node has no more of the job's guests
than the lower half of its peers could hold, and is no faster than the middle one of them.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import median_low

import msgspec

from propolis.decisions import placement
from propolis.protocols.jobs.answers import resting
from propolis.protocols.jobs.book import Guest, Job, Node, Phase
from propolis.protocols.jobs.desk import Alarm, Desk
from propolis.terms.identity import NodeId
from propolis.terms.time import Instant

SPEED_TRUSTED = 4.0  # a node that serves is at most this much faster than the middle one, whatever it says
RETIRE_SECONDS = (
    300.0  # a guest above its owner's share that others wait for may still run; then its task runs again later
)
TURN_SECONDS = 3600.0  # and one within its share, where slots are fewer than owners
TURN = 60.0  # seconds an owner keeps its only slot while another has none
LOOKED_AT = 8  # owners below their share whose first job is looked at in one round


def unserved_cap(desk: Desk) -> int:
    """Return how many guests of one job a node may have before it served it."""
    slots = [node.report.slots for node in desk.nodes.values() if node.up and node.report.slots]
    return min(median_low(slots), desk.config.max_unserved) if slots else 1


def facts(desk: Desk, nodes: Sequence[Node], jobs: Sequence[Job]) -> list[placement.NodeFacts]:
    """Return what placement is told of the nodes: their words, bounded by what they earned with one of the jobs."""
    served = set[NodeId]().union(*(job.served for job in jobs))
    speeds = [node.report.speed for node in nodes if node.report.speed > 0]
    typical, cap = median_low(speeds) if speeds else 0.0, unserved_cap(desk)
    told: list[placement.NodeFacts] = []
    for node in nodes:
        fastest = typical * (SPEED_TRUSTED if node.id in served else 1.0)
        report = node.report
        if report.speed > fastest:
            report = msgspec.structs.replace(report, speed=fastest)
        free = node.free if node.id in served else min(node.free, cap)
        told.append(placement.NodeFacts(node=node.id, report=report, proven=node.proven, free=free, survival=1.0))
    return told


def barred(desk: Desk, job: Job, cap: int) -> frozenset[NodeId]:
    """Return the nodes that get no more guests of the job now."""
    full = (node for node, held in job.holds.items() if held >= cap and node not in job.served)
    return frozenset(resting(job, desk.now)).union(full)


def room(job: Job, node: Node, cap: int) -> int:
    """Return how many guests of the job the node may be given more."""
    return node.free if node.id in job.served else min(node.free, cap - job.holds[node.id])


def allowances(desk: Desk, jobs: Sequence[Job]) -> dict[NodeId, int]:
    """Return how many guests more each owner may get; what owners below their share can use is kept for them.

    Guests of owners above it retire for them: those finish what they hold, for RETIRE_SECONDS, get nothing new, and leave.
    """
    up = [node for node in desk.nodes.values() if node.up and not node.suspect]
    held = Counter(desk.jobs[guest.job].owner for guest in desk.guests.values() if not guest.retiring)
    wanted: Counter[NodeId] = Counter()
    for job in jobs:
        wanted[job.owner] += desk.wanted(job)
    owners = {*held, *wanted}
    free = sum(node.free for node in up)
    if len(owners) < 2 or not wanted:
        return dict.fromkeys(wanted, free)
    share = max(1, sum(node.report.slots for node in up) // len(owners))
    kept: Counter[NodeId] = Counter()
    seen: set[NodeId] = set()
    for job in jobs:
        lack = min(wanted[job.owner], share - held[job.owner])
        if lack > 0 and job.owner not in seen and len(seen) < LOOKED_AT:
            seen.add(job.owner)
            able = usable(desk, job, up)
            kept[job.owner] = min(lack, sum(node.free for node in able))
            _make_room(desk, job.owner, lack - kept[job.owner], able, held, share)
    allowed: dict[NodeId, int] = {}
    for owner in sorted(kept, key=lambda owner: (desk.opened.get(owner, float("-inf")), owner)):
        allowed[owner] = min(kept[owner], free)
        free -= allowed[owner]
    return {owner: min(wanted[owner], allowed.get(owner, 0) + free) for owner in wanted}


def usable(desk: Desk, job: Job, up: Sequence[Node]) -> list[Node]:
    """Return which of the nodes may run the job now."""
    if not up:
        return []
    rows = desk.verdicts.row(job.spec, desk.verdicts.ids([(node.report, node.proven) for node in up]))
    idle = set(resting(job, desk.now))
    return [node for node, row in zip(up, rows, strict=True) if row == 0 and node.id not in idle]


def _make_room(desk: Desk, owner: NodeId, lack: int, usable: Sequence[Node], held: Counter[NodeId], share: int) -> None:
    """Let guests of owners above their share go, on nodes that who lacks slots can use, until enough are on their way.

    Where slots are fewer than owners, one that holds none gets the turn of one that had its slot long enough.
    """
    turn_over = desk.now - TURN if not held[owner] else float("-inf")
    for node in usable:
        lack -= sum(desk.guests[guest].retiring for guest in node.guests if guest in desk.guests)
    for node in usable:
        for guest in sorted(node.guests):
            if lack <= 0:
                return
            lack -= _retire(desk, desk.guests[guest], held, share, turn_over)
    if lack > 0 and not held[owner]:
        desk.retry(Instant((desk.now // TURN + 1) * TURN))


def _retire(desk: Desk, guest: Guest, held: Counter[NodeId], share: int, turn_over: float) -> bool:
    owner = desk.jobs[guest.job].owner
    if guest.retiring or (held[owner] <= share and guest.born > turn_over):
        return False
    guest.retiring = True
    patience = RETIRE_SECONDS if held[owner] > share else TURN_SECONDS
    desk.alarm(Instant(desk.now + patience), Alarm.RETIRED, guest.id)
    held[owner] -= 1
    if guest.phase is not Phase.SERVING or not guest.outstanding:
        desk.leaving[guest.id] = None
    return True
