"""What the orchestrator tells people: rows of jobs and nodes, and why a job waits. Reads the dispatcher, changes nothing."""

from collections import Counter

from propolis.decisions import admission
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.rows import MAX_REASONS, MAX_ROWS, JobRow, NodeRow, Rows, Verdict
from propolis.protocols.jobs.book import Job, Node, Phase
from propolis.protocols.jobs.desk import Desk
from propolis.terms.identity import NodeId
from propolis.terms.requirement import Level
from propolis.terms.time import Instant

PLACING = "its guests are being placed"
MAX_ANSWER = 8 * 1024 * 1024


def answer(desk: Desk, peer: NodeId, ask: say.Ask, job: Job | None, now: Instant) -> tuple[say.Answer, bytes]:
    """Return the answer to one question and its rows, encoded; cut until they fit a packet. `total` says of how many."""
    said, rows = _answer(desk, peer, ask, job, now)
    data = codec.encode(rows)
    while len(data) > MAX_ANSWER:
        rows = Rows(
            jobs=rows.jobs[-(len(rows.jobs) // 2) :] if len(rows.jobs) > 1 else rows.jobs,
            nodes=rows.nodes[: len(rows.nodes) // 2],
            verdicts=rows.verdicts[: len(rows.verdicts) // 2],
            events=rows.events[-(len(rows.events) // 2) :] if len(rows.events) > 1 else (),
        )
        data = codec.encode(rows)
    return said, data


def _answer(desk: Desk, peer: NodeId, ask: say.Ask, job: Job | None, now: Instant) -> tuple[say.Answer, Rows]:
    """Return the answer and its rows; owners see their own jobs only."""
    match ask.what:
        case "jobs":
            jobs = [j for j in desk.jobs.values() if j.owner == peer]
            return _cut(ask, len(jobs)), Rows(jobs=tuple(job_row(j, now) for j in jobs[-MAX_ROWS:]))
        case "nodes":
            nodes = list(desk.nodes.values())
            return _cut(ask, len(nodes)), Rows(nodes=tuple(node_row(n) for n in nodes[:MAX_ROWS]))
        case "explain" if job is not None:
            rows = Rows(
                jobs=(job_row(job, now),),
                verdicts=tuple(verdict(desk, job, node) for node in list(desk.nodes.values())[:MAX_ROWS]),
                events=tuple(job.events),
            )
            return _cut(ask, len(desk.nodes)), rows
        case _:
            return say.Answer(request=ask.request, reason="no such job of yours, or no such question"), Rows()


def _cut(ask: say.Ask, total: int) -> say.Answer:
    return say.Answer(request=ask.request, total=total)


def job_row(job: Job, now: Instant) -> JobRow:
    """Return the job's line."""
    return JobRow(
        job=job.id,
        name=job.spec.name,
        kind=job.spec.kind,
        state=job.state,
        privacy=job.spec.requirement.keyword,
        tasks=job.spec.tasks,
        finished=job.finished.count,
        failed=job.failed,
        reason=job.reason[:900],
        age=now - job.born,
    )


def node_row(node: Node) -> NodeRow:
    """Return the node's line."""
    state = "suspect" if node.suspect else "up" if node.up else "down"
    address = node.addresses[0] if node.addresses else ""
    return NodeRow(
        node=node.id,
        report=node.report,
        state=state,
        busy=len(node.guests),
        address=address,
        credential=node.credential,
        proven=node.proven,
        unproven=node.unproven[:900],
        ek=node.ek,
    )


def verdict(desk: Desk, job: Job, node: Node) -> Verdict:
    """Return why the node does or does not run the job."""
    reasons = admission.refusals(job.spec, node.report, node.proven, desk.known)
    if reasons and node.unproven and _hardware(job):
        reasons.append(f"it proves nothing: {node.unproven}")
    reasons += _now(desk, job, node)
    if not node.up:
        reasons.append("it is not connected")
    shown = tuple(r[:900] for r in reasons[:MAX_REASONS])
    return Verdict(node=node.id, name=node.report.name, admitted=not reasons, reasons=shown)


def _hardware(job: Job) -> bool:
    return any(demand.level is Level.HARDWARE for demand in job.spec.requirement.demands)


def _unproven(desk: Desk, job: Job, up: "Up") -> list[str]:
    """Return what most nodes that tried to prove something failed at, where the job wants proof."""
    why = Counter(desk.nodes[node].unproven for node in up.nodes if desk.nodes[node].unproven)
    return [f"{count} tried and failed: {text}"[:400] for text, count in why.most_common(1)] if _hardware(job) else []


def resting(job: Job, now: Instant) -> list[NodeId]:
    """Return the nodes that the job does not use now, whatever they offer."""
    return [*job.barred, *(n for n, strike in job.strikes.items() if strike.until > now and n not in job.barred)]


def _now(desk: Desk, job: Job, node: Node) -> list[str]:
    """Return why the job does not use the node now, although it may be admitted."""
    if node.id in job.barred:
        return [job.barred[node.id]]
    strike = job.strikes.get(node.id)
    return [f"rests after: {strike.reason}"] if strike is not None and strike.until > desk.now else []


class Up:
    """The nodes that are up, with their numbers in the desk's verdicts; good for one look at many jobs."""

    def __init__(self, desk: Desk) -> None:
        self.nodes = {node.id: place for place, node in enumerate(n for n in desk.nodes.values() if n.up)}
        self.numbers = desk.verdicts.ids([(desk.nodes[node].report, desk.nodes[node].proven) for node in self.nodes])


def waiting(desk: Desk, job: Job, up: Up) -> str:
    """Return in one sentence why a pending job does not run now."""
    if job.owner not in desk.owners:
        return "its owner's client is not connected, and only it releases keys"
    if not job.has_program:
        return "its program is on the way"
    if desk.now < job.rests_until:
        return "its owner's client was asked for keys and did not answer"
    held = desk.held_back(job)
    if held:
        return held
    if not job.stored.count:
        return "no input has arrived yet"
    if not up.nodes:
        return "no node is connected"
    refused = desk.verdicts.row(job.spec, up.numbers)
    idle = [node for node in resting(job, desk.now) if node in up.nodes]
    admitted = refused == 0
    admitted[[up.nodes[node] for node in idle]] = False
    if not admitted.any():
        common = desk.verdicts.common(refused)
        common.update(reason for node in idle for reason in _now(desk, job, desk.nodes[node]))
        reasons = "; ".join([*(reason for reason, _ in common.most_common(2)), *_unproven(desk, job, up)])
        return f"none of {len(up.nodes)} nodes may run it: {reasons}"
    if any(desk.guests[g].phase is not Phase.SERVING for g in job.guests):
        return "its guests are starting"
    able = [desk.nodes[node] for node, may in zip(up.nodes, admitted, strict=True) if may]
    silent = sum(node.suspect for node in able)
    if any(node.free for node in able if not node.suspect):
        return PLACING
    if silent == len(able):
        return f"every node that may run it is silent ({silent})"
    return f"every node that may run it is busy{f' or silent ({silent})' if silent else ''}"
