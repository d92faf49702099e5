"""The three parties together, by hand: a job is run exactly once from its owner's view, whatever dies on the way."""

import pytest
from pump import Chance, Pump

from propolis.adapters.store.memory import MemoryStore
from propolis.crypto import credential, identity
from propolis.decisions.privacy import requirement_for
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.parties.node import node_party
from propolis.parties.orchestrator import OrchestratorParty
from propolis.parties.owner import owner_party
from propolis.ports.store import Put
from propolis.protocols.jobs import events as ev
from propolis.runtime.known import known_today
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.contact import Contact
from propolis.terms.job import BlobRef, Granted, JobSpec, JobState, Kind, Receipt

ORCH = identity.public_of(b"o" * 32)
OWNER = identity.public_of(b"w" * 32)
HUB = Contact(peer=ORCH, addresses=("mem",))
JOB = b"j" * 16
KNOWN = known_today()


def invited(name):
    secret = b"i" * 32
    granted = credential.grant(
        lambda context, data: identity.sign(b"w" * 32, context, data), ORCH, Role.NODE, secret, 0
    )
    return credential.take(secret, granted, name, until=0, joined=0)


def report(name="n", slots=2, rung=Rung.NAMESPACES):
    return CapabilityReport(
        name=name, system="linux", machine="x86_64", python="3.11", slots=slots, memory_mb=2048, speed=1.0,
        isolation=Isolation(rung=rung),
    )  # fmt: skip


def spec(tasks=50, privacy="trusted-lenders"):
    return JobSpec(
        job=JOB, name="t", kind=Kind.FUNCTION, tasks=tasks, program=BlobRef(blob=b"b" * 32, size=10),
        requirement=requirement_for(privacy),
    )  # fmt: skip


def boot(pump, number=1):
    rows = pump.stores.setdefault(ORCH, MemoryStore())
    party = OrchestratorParty.restored(Chance(number), rows, KNOWN, pump.now)
    rows.commit(party.first_writes().writes)
    pump.add(ORCH, party)
    return party


def fleet(nodes=3, tasks=50, privacy="trusted-lenders"):
    pump = Pump()
    hub = boot(pump)
    names = []
    for n in range(nodes):
        seed = bytes([n + 1]) * 32
        name = identity.public_of(seed)
        token, writes = hub.registrar.invite(Role.NODE)
        pump.act(ORCH, [__import__("propolis.protocols.machine", fromlist=["Persist"]).Persist(writes)])
        pump.invited[name] = invited(name)
        pump.seeds[name], pump.isolation[name] = seed, report().isolation
        pump.add(name, node_party(Chance(100 + n), HUB, report(f"n{n}"), KNOWN, node=name, token=token))
        names.append(name)
    token, _ = hub.registrar.invite(Role.OWNER, operator=True)
    pump.add(OWNER, owner_party(Chance(7), HUB, KNOWN, operator=OWNER, token=token))
    submit(pump, tasks, privacy)
    return pump, names


def submit(pump, tasks, privacy="trusted-lenders"):
    pump.stores[OWNER].commit([Put("inputs", JOB + i.to_bytes(4, "big"), b"s" * 20) for i in range(tasks)])
    pump.at(0.5, OWNER, ev.SubmitAsked(spec(tasks, privacy), [20] * tasks))


def finished(pump, tasks):
    return lambda: len(pump.results) == tasks


def exactly_once(pump, tasks):
    assert len(pump.results) == tasks
    assert all(len(v) == 1 for v in pump.results.values())
    assert all(pump.results[OWNER, i] == [b"r%d" % i] for i in range(tasks))


def state(pump):
    moves = [n.message for _, n in pump.told if isinstance(n, ev.JobMoved) and hasattr(n.message, "state")]
    return moves[-1] if moves else None


def test_a_job_runs_to_its_end():
    pump, _ = fleet()
    pump.run(20, finished(pump, 50))
    exactly_once(pump, 50)
    pump.run(pump.now + 1)
    assert state(pump).state is JobState.DONE
    assert not pump.parties[ORCH].dispatcher.desk.guests


def test_node_killed_mid_task():
    pump, names = fleet(tasks=400)
    pump.run(30, lambda: len(pump.results) > 50)
    pump.kill(names[0])
    killed = pump.now
    pump.run(60, finished(pump, 400))
    exactly_once(pump, 400)
    assert pump.now - killed < 6 + 8


def test_node_vanishes_from_the_network():
    pump, names = fleet(tasks=400)
    pump.run(30, lambda: len(pump.results) > 50)
    pump.cut |= {(names[0], ORCH), (ORCH, names[0])}
    pump.run(60, finished(pump, 400))
    exactly_once(pump, 400)


def test_orchestrator_killed_and_restarted():
    pump, _ = fleet(tasks=400)
    pump.run(30, lambda: len(pump.results) > 50)
    pump.kill(ORCH)
    pump.run(pump.now + 1.0)
    boot(pump, 2)
    pump.run(60, finished(pump, 400))
    exactly_once(pump, 400)


def test_guests_outlive_the_orchestrator():
    """docs/specs/job.md, step 9: a node announces its guests again, and no other is started in their place."""
    pump, _ = fleet(tasks=400)
    pump.run(30, lambda: len(pump.results) > 50)
    before = {name: set(guests) for name, guests in pump.guests.items()}
    pump.kill(ORCH)
    pump.run(pump.now + 1.0)
    boot(pump, 2)
    pump.run(60, finished(pump, 400))
    exactly_once(pump, 400)
    assert pump.guests == before


def test_owner_closed_and_reopened():
    pump, _ = fleet(tasks=400)
    pump.run(30, lambda: len(pump.results) > 50)
    pump.kill(OWNER)
    pump.run(pump.now + 10)
    seen = len(pump.results)
    party = owner_party(Chance(8), HUB, KNOWN, operator=OWNER)
    pump.add(OWNER, party)
    from propolis.protocols.jobs.bits import Bits

    known = Bits(400)
    for _, i in pump.results:
        known.add(i)
    granted = tuple(
        codec.decode(codec.decode(value, Granted).receipt, Receipt) for _, value in pump.stores[OWNER].scan("granted")
    )
    pump.at(0.1, OWNER, ev.SubmitAsked(spec(400), [20] * 400, known.data(), granted))
    pump.run(60, finished(pump, 400))
    exactly_once(pump, 400)
    assert seen > 50


def test_private_by_default_waits_and_says_why():
    pump, _ = fleet(privacy="private")
    pump.run(10)
    assert state(pump).state is JobState.PENDING
    assert "none of 3 nodes" in state(pump).reason
    pump.at(0, OWNER, ev.QuestionAsked(1, "explain", JOB))
    pump.run(11)
    (answer,) = [n for _, n in pump.told if isinstance(n, ev.Answered)]
    assert len(answer.rows.verdicts) == 3
    assert all(not v.admitted and "data-in-use against A3 lender" in " ".join(v.reasons) for v in answer.rows.verdicts)


def test_result_that_does_not_open_runs_elsewhere():
    pump, names = fleet(tasks=100)
    pump.refuse_open |= {(names[0], i) for i in range(100)}
    pump.run(60, finished(pump, 100))
    exactly_once(pump, 100)


@pytest.mark.parametrize("guest_deaths", [1, 5])
def test_guest_killed(guest_deaths):
    pump, names = fleet(tasks=300)
    for n in range(guest_deaths):
        pump.run(30, lambda n=n: len(pump.results) > 20 * (n + 1))
        guest = next(iter(pump.parties[names[0]].residents._residents[0]._guests), None)
        if guest:
            pump.at(0, names[0], ev.GuestEnded(guest, "executor.crashed", "signal 9"))
    pump.run(60, finished(pump, 300))
    exactly_once(pump, 300)
