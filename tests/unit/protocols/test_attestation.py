"""Verifier and attester talk through their messages: enrolment, leases, drift, and every way to be refused."""

import asyncio
import hmac

import msgspec
import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto import ear
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Attribute, Handle
from propolis.crypto.tpm.marshal import sized, u32
from propolis.decisions.appraisal.member import Row
from propolis.decisions.appraisal.policy import Approved, Policy, Rehearsal, Rules
from propolis.decisions.weaknesses import Weakness, Weaknesses
from propolis.messages import attestation as say
from propolis.messages import codec
from propolis.ports.store import Put
from propolis.protocols import session
from propolis.protocols.attestation import appraising, rounds
from propolis.protocols.attestation import events as ev
from propolis.protocols.attestation.attester import Attester
from propolis.protocols.attestation.rounds import AGAIN_SECONDS, PAUSE_SECONDS, ROUND_SECONDS
from propolis.protocols.attestation.verifier import Verifier
from propolis.protocols.machine import Mail, Persist, Tell, TimePassed, WorkDone, WorkFailed
from propolis.runtime.known import known_weaknesses
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import TpmError

NODE, OTHER, HUB = b"n" * 32, b"m" * 32, b"h" * 32
KIND = "tpm2-quote/1"
EPOCH = 1_800_000_000.0
LEASE_SECONDS = 600.0
PCRS = (0, 4, 7)
KNOWN = known_weaknesses()


def report(shows=(KIND,)):
    return CapabilityReport(
        name="n", system="linux", machine="x86_64", python="3.11", slots=1, memory_mb=1024, speed=1.0,
        isolation=Isolation(rung=Rung.NAMESPACES), shows=shows,
    )  # fmt: skip


def named(chip):
    return public.parse(asyncio.run(chip.identity()).ek).name.hex()


def rules(*chips, **more):
    """The policy of an operator that vouches for these chips; a stand-in's firmware is not the emulator's here."""
    approved = tuple(Approved(ek=named(chip), maker="IFX") for chip in chips)
    return Rules(Policy(pcrs=PCRS, approved=approved, **more))


def chip(seed, **clock):
    made = SoftwareAttester(seed)
    made.clock = msgspec.structs.replace(made.clock, firmware=0x0007_0055_0000_0000, **clock)
    return made


class Chance:
    def __init__(self):
        self.count = 0

    def draw(self, size):
        self.count += 1
        return self.count.to_bytes(size, "big")


class World:
    """One verifier, some nodes with software TPMs; messages and work are carried at once, time by hand."""

    def __init__(self, *chips):
        self.now, self.rows = 0.0, MemoryStore()
        self.verifier = Verifier(Chance(), EPOCH)
        self.verifier.handle(session.PolicyChanged(rules(*chips)), 0.0)
        self.nodes, self.chips = {}, {}
        self.proven, self.told, self.mute, self.here = {}, [], set(), {}
        self.tamper = lambda evidence: evidence

    def enter(self, name, chip, shows=(KIND,)):
        self.nodes[name], self.chips[name] = Attester(HUB, name, shows), chip
        self.of_node(name, session.Connected())
        self.of_hub(session.NodeEntered(name, report(shows)))

    def later(self, seconds):
        self.now += seconds
        self.of_hub(TimePassed())

    def of_hub(self, event):
        for output in self.verifier.handle(event, self.now):
            match output:
                case Mail(peer=peer, message=message):
                    if peer not in self.mute:
                        self.of_node(peer, session.Said(HUB, message))
                case Persist(writes=writes):
                    self.rows.commit(writes)
                case session.Announce(change=change):
                    self.proven[change.node] = change
                case ev.Appraise():
                    self.of_hub(self.appraised(output))
                case ev.SignResult(ticket=ticket, result=result):
                    self.of_hub(WorkDone(ticket, result.submods["node"].status.value))
                    self.result = result
                case _:
                    raise AssertionError(output)
        self.verifier.check()

    def of_node(self, name, event):
        for output in self.nodes[name].handle(event, self.now):
            match output:
                case Mail(message=message, parts=parts):
                    self.of_hub(session.Said(name, message, parts))
                case Tell(note=note):
                    self.told.append((name, note))
                case ev.Show():
                    self.of_node(name, self.shown(name, output))
                case session.Announce(change=session.ProvenHere(proven=proven)):
                    self.here[name] = proven
                case ev.OpenCredential(ticket=ticket, blob=blob, secret=secret):
                    try:
                        opened = asyncio.run(self.chips[name].activate(blob, secret))
                        self.of_node(name, WorkDone(ticket, opened))
                    except TpmError as error:
                        self.of_node(name, WorkFailed(ticket, error.code, str(error)))
                case _:
                    raise AssertionError(output)
        self.nodes[name].check()

    def shown(self, name, work):
        chip = self.chips[name]
        identity, shown = asyncio.run(chip.identity()), asyncio.run(chip.show(work.binding, work.pcrs, work.bank))
        evidence = say.Evidence(
            nonce=work.nonce, kind=KIND, ek=identity.ek, ak=identity.ak, srk=identity.srk, srk_attest=shown.srk_attest,
            srk_signature=shown.srk_signature, attest=shown.attest, signature=shown.signature,
            pcrs=tuple(shown.values), values=tuple(shown.values.values()),
        )  # fmt: skip
        return WorkDone(work.ticket, (self.tamper(evidence), (shown.event_log, b"")))

    def appraised(self, work):
        return WorkDone(work.ticket, appraising.conclude(work, KNOWN, EPOCH + self.now))

    def reason(self, name=NODE):
        assert self.proven[name].proven == ()
        return self.proven[name].reason.split(":")[0]


def test_a_node_is_enrolled_once_and_its_result_is_signed():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    (tpm, boot) = world.proven[NODE].proven
    assert (tpm.technology, boot.technology) == ("tpm", "measured-boot")
    assert tpm.claims == boot.claims == ("approved", "firmware-not-known-bad", "resident-key", "sealed-to-policy")
    assert not tpm.emulated
    said = say.Appraised(ear="affirming", until=int(EPOCH + LEASE_SECONDS), proven=world.proven[NODE].proven)
    assert world.told == [(NODE, said)]
    assert world.result.submods[ear.SUBMODULE].claims == tpm.claims
    assert len(list(world.rows.scan("attested"))) == 1


def test_a_lease_is_renewed_half_way_without_another_activation():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    before = world.proven.pop(NODE)
    world.later(LEASE_SECONDS / 2)
    assert world.proven[NODE].proven == before.proven
    assert len(world.told) == 2
    assert world.verifier.deadline() == world.now + LEASE_SECONDS / 2


def test_what_is_not_renewed_is_over_at_its_end():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    world.mute.add(NODE)
    world.later(LEASE_SECONDS / 2)
    world.later(ROUND_SECONDS)
    assert world.reason() == "silent"


def test_a_lease_ends_even_while_a_round_is_open():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    world.mute.add(NODE)
    world.later(LEASE_SECONDS - 1)
    world.later(1)
    assert world.reason() == "expired"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"resets": 2}, "reset"),
        ({"resets": 0}, "clock_rollback"),
        ({"clock": 1}, "clock_rollback"),
        ({"firmware": 7}, "firmware"),
    ],
)
def test_drift_ends_what_was_concluded_at_once(change, reason):
    world = World(chip(b"1"), chip(b"2"))
    machine = chip(b"1")
    world.enter(NODE, machine)
    machine.clock = msgspec.structs.replace(machine.clock, **change)
    world.later(LEASE_SECONDS / 2)
    assert world.reason() == reason


def test_an_owners_hierarchy_key_is_refused():
    world, machine = World(chip(b"1"), chip(b"2")), chip(b"1")
    machine.hierarchy = 0x40000001
    world.enter(NODE, machine)
    assert world.reason() == "ak_hierarchy"


def test_one_endorsement_key_serves_one_node():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    world.enter(OTHER, chip(b"1"))
    assert world.proven[NODE].proven
    assert world.reason(OTHER) == "identity"


def test_a_node_that_changes_its_chip_is_refused_also_after_a_restart():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"))
    reborn = World(chip(b"1"), chip(b"2"))
    reborn.verifier.restore(world.rows, rules(chip(b"1"), chip(b"2")))
    reborn.enter(NODE, chip(b"2"))
    assert reborn.reason() == "identity"


def test_a_key_that_does_not_live_beside_the_endorsement_key_shown_is_refused():
    world, other = World(chip(b"1"), chip(b"2")), chip(b"2")
    stolen = asyncio.run(other.identity()).ek
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, ek=stolen)
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "ak_binding"
    assert not list(world.rows.scan("attested"))


def test_old_evidence_and_another_nodes_are_refused():
    world = World(chip(b"1"), chip(b"2"))
    kept = []
    world.tamper = lambda evidence: kept.append(evidence) or evidence
    world.enter(OTHER, chip(b"2"))
    theirs = kept[0]
    world.tamper = lambda evidence: msgspec.structs.replace(theirs, nonce=evidence.nonce)
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "nonce"


def test_a_node_without_hardware_is_left_alone_and_proves_nothing():
    world = World(chip(b"1"), chip(b"2"))
    world.enter(NODE, chip(b"1"), shows=())
    assert not world.proven
    assert world.verifier.deadline() is None


def test_answers_out_of_turn_change_nothing():
    world = World(chip(b"1"), chip(b"2"))
    world.mute.add(NODE)
    world.enter(NODE, chip(b"1"))
    for message in (
        say.Activated(nonce=bytes(32), proof=b"x"),
        say.Evidence(nonce=b"z" * 32, kind=KIND),
        say.Activated(nonce=(1).to_bytes(32, "big"), proof=b""),
    ):
        world.of_hub(session.Said(NODE, message, (b"",)))
    assert NODE not in world.proven
    world.of_hub(session.Said(OTHER, say.Evidence(nonce=bytes(32), kind=KIND)))


def test_a_node_opens_one_credential_a_round_and_none_of_another():
    node = Attester(HUB, NODE, (KIND,))
    node.handle(session.Said(HUB, say.Challenge(nonce=b"a" * 32, pcrs=(0,), bank=11)), 0.0)
    wrong = say.Activate(nonce=b"b" * 32, blob=b"", secret=b"")
    right = say.Activate(nonce=b"a" * 32, blob=b"", secret=b"")
    assert node.handle(session.Said(HUB, wrong), 0.0) == []
    assert len(node.handle(session.Said(HUB, right), 0.0)) == 1
    assert node.handle(session.Said(HUB, right), 0.0) == []


def test_a_node_tells_that_a_credential_opened_and_not_what_was_in_it():
    """An orchestrator may pass off the credential of an owner's grant as its own."""
    node, secret = Attester(HUB, NODE, (KIND,)), b"s" * 32
    (shown,) = node.handle(session.Said(HUB, say.Challenge(nonce=b"a" * 32, pcrs=(0,), bank=11)), 0.0)
    node.handle(WorkDone(shown.ticket, (say.Evidence(nonce=b"a" * 32, kind=KIND), ())), 0.0)
    (opening,) = node.handle(session.Said(HUB, say.Activate(nonce=b"a" * 32, blob=b"", secret=b"")), 0.0)
    (answer,) = node.handle(WorkDone(opening.ticket, secret), 0.0)
    assert answer.message.proof == hmac.digest(secret, b"propolis/activated/1" + b"a" * 32, "sha256")
    assert secret not in codec.encode(answer.message)


def test_a_key_without_a_makers_word_waits_for_the_operators_and_is_held_to_its_node_meanwhile():
    world = World()
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "pending"
    assert world.proven[NODE].ek == public.parse(asyncio.run(chip(b"1").identity()).ek).name
    assert world.here[NODE] == ()
    world.enter(OTHER, chip(b"1"))
    assert world.reason(OTHER) == "identity"
    world.of_hub(session.PolicyChanged(rules(chip(b"1"))))
    assert "approved" in world.proven[NODE].proven[0].claims


def test_another_policy_ends_what_the_old_one_concluded_at_once():
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    assert world.proven[NODE].proven
    world.of_hub(session.PolicyChanged(rules(chip(b"2"))))
    assert world.reason() == "pending"


def test_a_reset_machine_is_judged_from_the_beginning_and_one_whose_past_came_back_never():
    world, machine = World(chip(b"1")), chip(b"1")
    world.enter(NODE, machine)
    machine.clock = msgspec.structs.replace(machine.clock, resets=2)
    world.later(LEASE_SECONDS / 2)
    assert world.reason() == "reset"
    world.later(AGAIN_SECONDS)
    assert world.proven[NODE].proven, "a reboot is no crime"
    machine.clock = msgspec.structs.replace(machine.clock, resets=1)
    world.later(LEASE_SECONDS / 2)
    world.later(AGAIN_SECONDS)
    assert world.reason() == "clock_rollback", "a restored snapshot is"


def test_registers_that_move_within_a_lease_end_it():
    world, machine = World(chip(b"1")), chip(b"1")
    world.enter(NODE, machine)
    machine.registers[4] = b"x" * 32
    world.later(LEASE_SECONDS / 2)
    assert world.reason() == "pcr_drift"
    world.later(AGAIN_SECONDS)
    assert world.proven[NODE].proven


def test_an_emulated_chip_counts_nowhere_without_a_rehearsals_root():
    world, machine = World(chip(b"1")), SoftwareAttester(b"1")
    world.enter(NODE, machine)
    assert world.reason() == "emulated"


def test_a_storage_key_that_its_attestation_key_does_not_vouch_for_is_refused():
    world, other = World(chip(b"1")), chip(b"2")
    theirs = asyncio.run(other.identity()).srk
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, srk=theirs)
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "srk_binding"
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, srk=evidence.ak)
    world.later(AGAIN_SECONDS)
    assert world.reason() == "srk_attrs"


def test_a_node_is_told_before_anybody_acts_on_it():
    order = []
    world = World(chip(b"1"))
    told = world.of_node
    world.of_node = lambda name, event: (
        order.append(type(getattr(event, "message", event)).__name__) or told(name, event)
    )
    acted = world.proven
    world.proven = type(
        "Acts", (dict,), {"__setitem__": lambda self, k, v: order.append("acts") or dict.__setitem__(self, k, v)}
    )(acted)
    world.enter(NODE, chip(b"1"))
    assert order.index("Appraised") < order.index("acts")


def test_a_node_that_comes_back_again_and_again_is_judged_no_oftener():
    world = World(chip(b"1"))
    for _ in range(10):
        world.enter(NODE, chip(b"1"))
    assert len([note for name, note in world.told if name == NODE]) == 1
    world.proven.clear()
    world.later(PAUSE_SECONDS)
    assert world.proven[NODE].proven


def test_a_refusal_by_an_old_policy_is_not_told_as_one_of_the_new():
    world = World()
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "pending"
    world.mute.add(NODE)
    world.of_hub(session.PolicyChanged(rules(chip(b"1"))))
    assert world.reason() == "policy"


def test_a_key_that_nothing_can_be_encrypted_to_is_refused_and_stops_nobody():
    """An even RSA modulus made the verifier raise, and one node ended its orchestrator."""
    area = public.ek_rsa()[:-256] + b"\xff" + bytes(254) + b"\x02"
    world = World(chip(b"1"))
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, ek=area)
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "weak_key"
    world.enter(OTHER, chip(b"1"))
    assert world.reason(OTHER) == "weak_key"


def test_a_machine_whose_node_was_removed_is_enrolled_anew():
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    world.of_hub(session.MemberRemoved(NODE))
    assert not list(world.rows.scan("attested"))
    world.enter(OTHER, chip(b"1"))
    assert world.proven[OTHER].proven


# -- what belongs to one round stays in it


class Slow(World):
    """Evidence is judged when the test says so."""

    def __init__(self, *chips):
        super().__init__(*chips)
        self.waiting = []

    def appraised(self, work):
        self.waiting.append(work)
        return TimePassed()

    def judge(self, work):
        self.of_hub(super().appraised(work))


def test_evidence_shown_twice_in_one_round_is_judged_once():
    """Judging costs us more than sending costs a node."""
    world, sent = Slow(chip(b"1")), []
    world.tamper = lambda evidence: sent.append(evidence) or evidence
    world.enter(NODE, chip(b"1"))
    world.of_hub(session.Said(NODE, sent[0], (b"", b"")))
    assert len(world.waiting) == 1
    world.judge(world.waiting[0])
    assert world.proven[NODE].proven


def test_a_judgement_of_a_round_that_is_over_counts_in_no_later_one():
    world, machine = Slow(chip(b"1")), chip(b"1")
    world.enter(NODE, machine)
    world.of_hub(session.PolicyChanged(rules()))  # now nobody vouches for it: a new round
    [first] = world.waiting
    world.judge(first)
    assert NODE not in world.proven or not world.proven[NODE].proven
    world.later(PAUSE_SECONDS)
    _, second = world.waiting
    world.judge(second)
    assert world.reason() == "pending"


def test_evidence_of_one_node_waits_once_and_of_all_nodes_within_a_bound(monkeypatch):
    """Judging is slower than sending: what leaves and comes back with more must not pile up in memory."""
    world = Slow(chip(b"1"))
    for _ in range(5):
        world.enter(NODE, chip(b"1"))
        world.later(PAUSE_SECONDS)
        world.of_hub(session.NodeLost(NODE))
    [first] = world.waiting
    monkeypatch.setattr(rounds, "MAX_JUDGING", rounds.EACH_JUDGING)
    world.enter(OTHER, chip(b"2"))
    assert (world.reason(OTHER), len(world.waiting)) == ("busy", 1)
    world.enter(NODE, chip(b"1"))
    world.judge(first)  # of a round that is long over: it only makes room
    assert NODE not in world.proven
    world.later(PAUSE_SECONDS)
    _, second = world.waiting
    world.judge(second)
    assert world.proven[NODE].proven
    world.later(AGAIN_SECONDS)
    assert [work.node for work in world.waiting] == [NODE, NODE, OTHER]


def test_who_keeps_much_waiting_ends_no_lease_of_others(monkeypatch):
    """That there is no room to judge says nothing of the node that is asked: its lease goes on to its end, and no longer."""
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    monkeypatch.setattr(rounds, "MAX_JUDGING", 0)
    world.later(LEASE_SECONDS / 2)
    assert world.proven[NODE].proven
    world.later(LEASE_SECONDS / 2 - 1)
    assert world.proven[NODE].proven
    world.later(1)
    assert world.reason() == "expired"
    world.later(AGAIN_SECONDS)
    assert world.reason() == "busy"
    monkeypatch.undo()
    world.later(AGAIN_SECONDS)
    assert world.proven[NODE].proven


def test_a_result_holds_no_longer_than_the_evidence_under_it(monkeypatch):
    world, conclude = World(chip(b"1")), appraising.conclude

    def ending(*args):
        found = conclude(*args)
        return msgspec.structs.replace(found, judged=msgspec.structs.replace(found.judged, until=EPOCH + 60))

    monkeypatch.setattr(appraising, "conclude", ending)
    world.enter(NODE, chip(b"1"))
    assert world.told[-1][1].until == EPOCH + 60
    world.mute.add(NODE)
    world.later(60)
    assert world.reason() == "expired"


def test_under_a_policy_of_other_registers_a_node_is_judged_from_the_beginning():
    """Held against the old lease, registers that were not asked before would look like a drift."""
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    fewer = Policy(pcrs=(0, 7), approved=(Approved(ek=named(chip(b"1")), maker="IFX"),))
    world.of_hub(session.PolicyChanged(Rules(fewer)))
    assert world.proven[NODE].proven


def test_evidence_of_another_kind_than_announced_is_refused():
    world = World(chip(b"1"))
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, kind="software-key/1")
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "envelope_type"


def challenged(nonce):
    return session.Said(HUB, say.Challenge(nonce=nonce, pcrs=(0,), bank=11))


def test_a_node_sends_nothing_of_a_round_that_is_over():
    node = Attester(HUB, NODE, (KIND,))
    (old,) = node.handle(challenged(b"a" * 32), 0.0)
    (new,) = node.handle(challenged(b"b" * 32), 0.0)
    assert node.handle(WorkDone(old.ticket, (say.Evidence(nonce=b"a" * 32, kind=KIND), ())), 0.0) == []
    (sent,) = node.handle(WorkDone(new.ticket, (say.Evidence(nonce=b"b" * 32, kind=KIND), ())), 0.0)
    assert sent.message.nonce == b"b" * 32
    (failing,) = node.handle(challenged(b"c" * 32), 0.0)
    node.handle(challenged(b"d" * 32), 0.0)
    assert node.handle(WorkFailed(failing.ticket, "tpm", "gone"), 0.0) == []


@pytest.mark.parametrize("change", [session.Connected(), session.Disconnected()])
def test_a_round_ends_with_the_connection_it_came_on(change):
    node = Attester(HUB, NODE, (KIND,))
    (shown,) = node.handle(challenged(b"a" * 32), 0.0)
    node.handle(change, 0.0)
    assert node.handle(WorkDone(shown.ticket, (say.Evidence(nonce=b"a" * 32, kind=KIND), ())), 0.0) == []
    assert node.handle(session.Said(HUB, say.Activate(nonce=b"a" * 32, blob=b"", secret=b"")), 0.0) == []


# -- what is refused before anything else is looked at


def test_a_register_shown_twice_is_refused():
    world = World(chip(b"1"))
    world.tamper = lambda said: msgspec.structs.replace(
        said, pcrs=(*said.pcrs, said.pcrs[0]), values=(*said.values, said.values[0])
    )
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "pcr_missing"


@pytest.mark.parametrize("now", [0.0, -1.0, float("nan"), float("inf")])
def test_who_does_not_know_the_time_judges_nothing(now, monkeypatch):
    world, conclude = World(chip(b"1")), appraising.conclude
    monkeypatch.setattr(appraising, "conclude", lambda work, known, _: conclude(work, known, now))
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "clock"


def test_an_emulated_chip_is_called_so_whatever_certificate_it_brings():
    world = World(chip(b"1"))
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, certificate=b"none")
    world.enter(NODE, SoftwareAttester(b"1"))
    assert world.reason() == "emulated"


def test_an_emulated_chip_that_the_operator_vouches_for_is_none_of_a_rehearsals_either():
    """Only the rehearsal's own root makes one count, and labelled: by approval it would pass for a chip."""
    rehearsal = Rehearsal(i_know_that_an_emulated_tpm_proves_nothing=True, roots=("0" * 64,))
    world, machine = World(), SoftwareAttester(b"1")
    world.of_hub(session.PolicyChanged(rules(machine, rehearsal=rehearsal)))
    world.enter(NODE, machine)
    assert world.reason() == "emulated"


def test_a_chip_that_was_not_shut_down_in_good_order_is_refused_where_the_policy_asks():
    world = World()
    world.of_hub(session.PolicyChanged(rules(chip(b"1"), strict_clock=True)))
    world.enter(NODE, chip(b"1", safe=False))
    assert world.reason() == "clock_unsafe"
    world.of_hub(session.PolicyChanged(rules(chip(b"1"))))
    assert world.proven[NODE].proven


def test_a_policy_that_wants_clean_measurements_refuses_who_shows_none():
    world = World()
    world.of_hub(session.PolicyChanged(rules(chip(b"1"), measurements="clean")))
    world.enter(NODE, chip(b"1"))
    assert world.reason() == "ima_violation"


def test_a_storage_key_vouched_for_in_an_earlier_round_is_refused():
    world, kept = World(chip(b"1")), []
    world.tamper = lambda evidence: kept.append(evidence) or evidence
    world.enter(NODE, chip(b"1"))
    old = kept[0]
    world.tamper = lambda said: msgspec.structs.replace(
        said, srk_attest=old.srk_attest, srk_signature=old.srk_signature
    )
    world.later(LEASE_SECONDS / 2)
    assert world.reason() == "srk_binding"


def test_a_storage_key_outside_the_owners_hierarchy_is_refused():
    world, machine = World(chip(b"1")), chip(b"1")
    srk = public.parse(asyncio.run(machine.identity()).srk)
    home, other = (public.qualified(srk, hierarchy=where) for where in (Handle.OWNER, Handle.NULL))

    def moved(said):
        attest = said.srk_attest.replace(home, other)
        return msgspec.structs.replace(said, srk_attest=attest, srk_signature=machine._signed(attest))

    world.tamper = moved
    world.enter(NODE, machine)
    assert world.reason() == "srk_binding"


def test_firmware_of_which_too_little_is_known_is_not_called_sound(monkeypatch):
    """A weakness of some processors: a quote does not say which one is there."""
    unsure = Weakness(
        name="w", maker="IFX", processors=((6, 0, 255),), by=0, because="b", raises="r", source="s", date="2026-01-01"
    )
    monkeypatch.setitem(World.appraised.__globals__, "KNOWN", Weaknesses(date="2026-01-01", weakness=(unsure,)))
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    assert world.proven[NODE].proven[0].claims == ("approved", "resident-key", "sealed-to-policy")


def test_firmware_of_a_maker_nobody_keeps_a_list_of_is_not_called_sound():
    world = World()
    unheard = Approved(ek=named(chip(b"1")), maker="ZZZZ")
    world.of_hub(session.PolicyChanged(Rules(Policy(pcrs=PCRS, approved=(unheard,)))))
    world.enter(NODE, chip(b"1"))
    assert world.proven[NODE].proven[0].claims == ("approved", "resident-key", "sealed-to-policy")


class Unhurried(World):
    """Credentials are opened when the test says so."""

    def __init__(self, *chips):
        super().__init__(*chips)
        self.waiting = []

    def of_node(self, name, event):
        if isinstance(event, session.Said) and isinstance(event.message, say.Activate):
            self.waiting.append((name, event))
        else:
            super().of_node(name, event)

    def go_on(self):
        while self.waiting:
            super().of_node(*self.waiting.pop(0))


def test_two_nodes_that_enrol_one_endorsement_key_at_once_are_still_one():
    world = Unhurried(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    world.enter(OTHER, chip(b"1"))
    assert len(world.waiting) == 2
    world.go_on()
    assert world.proven[NODE].proven
    assert world.reason(OTHER) == "identity"
    assert [key for key, _ in world.rows.scan("attested")] == [NODE]


def padded(ek):
    """The same point with a zero before its x: as sound an area, and of another Name."""
    return ek[:-68] + sized(b"\0" + ek[-66:-34]) + ek[-34:]


def with_another_attribute(ek):
    return ek[:4] + u32(int.from_bytes(ek[4:8], "big") | Attribute.NO_DA) + ek[8:]


def mirrored(ek):
    """The other point of the same x: what is encrypted to either opens."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    return ek[:-32] + (prime - int.from_bytes(ek[-32:], "big")).to_bytes(32, "big")


@pytest.mark.parametrize("retold", [with_another_attribute, padded, mirrored])
def test_one_endorsement_key_serves_one_node_in_whatever_area_it_is_shown(retold):
    """A maker's certificate is of the key; the area around it, and so its Name, is the node's word."""
    machine = chip(b"1")
    other = retold(asyncio.run(machine.identity()).ek)
    approved = tuple(Approved(ek=name, maker="IFX") for name in (named(machine), public.parse(other).name.hex()))
    world = World()
    world.of_hub(session.PolicyChanged(Rules(Policy(pcrs=PCRS, approved=approved))))
    world.enter(NODE, machine)
    assert world.proven[NODE].proven
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, ek=other)
    world.enter(OTHER, machine)
    assert world.reason(OTHER) == "identity"


def test_a_row_of_an_earlier_release_holds_its_key_too():
    """It names the endorsement key by its Name alone; what is kept at the next round holds the key itself."""
    world = World(chip(b"1"))
    world.enter(NODE, chip(b"1"))
    [(key, value)] = list(world.rows.scan("attested"))
    world.rows.commit([Put("attested", key, codec.encode(msgspec.structs.replace(codec.decode(value, Row), key=b"")))])
    reborn = World(chip(b"1"))
    reborn.verifier.restore(world.rows, rules(chip(b"1")))
    reborn.enter(NODE, chip(b"1"))
    reborn.enter(OTHER, chip(b"1"))
    assert reborn.proven[NODE].proven
    assert reborn.reason(OTHER) == "identity"
