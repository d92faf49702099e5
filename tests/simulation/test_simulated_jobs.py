"""The job protocol in virtual time: churn, loss, kills; exactly once from the owner's view; a run repeats to the bit."""

import subprocess
import sys

from propolis.messages import jobs as say
from propolis.messages.envelope import Envelope, Packet
from propolis.protocols.machine import PacketArrived
from propolis.simulator.scenario import Scenario, run
from propolis.simulator.trace import Trace

SMALL = Scenario(nodes=40, tasks=1500, kills=8, returns=4, loss=0.05, checking=20, encode=True)


def test_small_fleet_checked_at_every_step_through_the_codec_seed_1():
    summary = run(SMALL)
    assert summary.exactly_once, summary


def test_orchestrator_killed_in_virtual_time_seed_3():
    summary = run(Scenario(seed=3, nodes=40, tasks=1500, kills=8, returns=8, orchestrator_kills=2, checking=50))
    assert summary.exactly_once, summary


def test_a_thousand_nodes_with_kills_and_loss_seed_1():
    summary = run(Scenario(nodes=1000, tasks=20_000, kills=50, returns=25, loss=0.05))
    assert summary.exactly_once, summary
    assert summary.killed >= 30
    assert summary.steps < 500_000, "about 330,000 here: what costs seconds must not come to cost minutes"


def test_same_seed_same_fingerprint_in_any_process():
    code = "from propolis.simulator.scenario import *; print(run(Scenario(nodes=20, tasks=300, kills=4)).fingerprint)"
    prints = set()
    for hashseed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hashseed}, capture_output=True, text=True, check=True
        )
        prints.add(done.stdout)
    other = run(Scenario(seed=2, nodes=20, tasks=300, kills=4)).fingerprint
    assert len(prints) == 1
    assert other not in prints


def test_a_fingerprint_tells_apart_what_messages_and_bodies_say():
    def fingerprint(job, body):
        trace = Trace()
        envelope = Envelope(version=1, epoch=1, seen=1, seq=1, ack=0, message=say.Stop(job=job), sizes=(len(body),))
        trace.step(1.0, b"p" * 32, PacketArrived(b"q" * 32, Packet(envelope, (body,))))
        return trace.fingerprint

    said = [fingerprint(b"a" * 16, b"one"), fingerprint(b"b" * 16, b"one"), fingerprint(b"a" * 16, b"two")]
    assert len(set(said)) == 3
    assert said[0] == fingerprint(b"a" * 16, b"one")
