"""Verifier and attester talk through their messages: enrolment, leases, drift, and every way to be refused."""

import asyncio

import msgspec
import pytest

from propolis.adapters.store.memory import MemoryStore
from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto import ear
from propolis.crypto.binding import Purpose, bind
from propolis.crypto.paths import Roots
from propolis.crypto.tpm import public
from propolis.decisions.appraisal import quote, tpm2
from propolis.decisions.appraisal.result import Endorsements
from propolis.messages import attestation as say
from propolis.protocols import session
from propolis.protocols.attestation import events as ev
from propolis.protocols.attestation.attester import Attester
from propolis.protocols.attestation.verifier import LEASE_SECONDS, ROUND_SECONDS, Asking, Verifier
from propolis.protocols.machine import Mail, Persist, Tell, TimePassed, WorkDone, WorkFailed
from propolis.terms.capability import CapabilityReport, Isolation, Rung
from propolis.terms.errors import Rejected, TpmError

NODE, OTHER, HUB = b"n" * 32, b"m" * 32, b"h" * 32
KIND = "tpm2-quote/1"
EPOCH = 1_800_000_000.0
CLAIMS = ("endorsed",)


def report(shows=(KIND,)):
    return CapabilityReport(
        name="n", system="linux", machine="x86_64", python="3.11", slots=1, memory_mb=1024, speed=1.0,
        isolation=Isolation(rung=Rung.NAMESPACES), shows=shows,
    )  # fmt: skip


class Chance:
    def __init__(self):
        self.count = 0

    def draw(self, size):
        self.count += 1
        return self.count.to_bytes(size, "big")


class World:
    """One verifier, some nodes with software TPMs; messages and work are carried at once, time by hand."""

    def __init__(self):
        self.now, self.rows = 0.0, MemoryStore()
        self.verifier = Verifier(Chance(), Asking(pcrs=(0, 7)), EPOCH)
        self.nodes, self.chips = {}, {}
        self.proven, self.told, self.mute = {}, [], set()
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
            nonce=work.nonce, kind=KIND, ek=identity.ek, ak=identity.ak, srk=identity.srk, attest=shown.attest,
            signature=shown.signature, pcrs=tuple(shown.values), values=tuple(shown.values.values()),
        )  # fmt: skip
        return WorkDone(work.ticket, (self.tamper(evidence), (b"", b"")))

    def appraised(self, work):
        """As an assembly does it: the real pipeline, with an endorsement approved by hand."""
        said = work.evidence
        asked = quote.Asked(
            binding=bind(said.nonce, work.node, Purpose.MEMBER),
            pcrs=(0, 7),
            before=work.before.last if work.before else None,
        )
        bundle = tpm2.Evidence(
            ak=said.ak, ek=said.ek, attest=said.attest, signature=said.signature,
            values=dict(zip(said.pcrs, said.values, strict=True)),
        )  # fmt: skip
        try:
            found = tpm2.examine(bundle, asked, Endorsements(), Roots(), EPOCH + self.now)
        except Rejected as error:
            return WorkDone(work.ticket, ev.Conclusion(reason=error.reason, text=str(error)))
        row = ev.Row(
            ek=found.ek.name, ak=found.ak.name, srk=public.parse(said.srk).name,
            clock=msgspec.structs.astuple(found.quoted.clock),
        )  # fmt: skip
        return WorkDone(
            work.ticket,
            ev.Conclusion(row=row, ek=said.ek, ak=said.ak, claims=CLAIMS, until=EPOCH + 1e9, emulated=True),
        )

    def reason(self, name=NODE):
        assert self.proven[name].proven == ()
        return self.proven[name].reason.split(":")[0]


def test_a_node_is_enrolled_once_and_its_result_is_signed():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
    (tpm, boot) = world.proven[NODE].proven
    assert (tpm.technology, boot.technology) == ("tpm", "measured-boot")
    assert tpm.claims == ("endorsed", "resident-key")
    assert world.proven[NODE].emulated
    assert world.told == [(NODE, say.Appraised(ear="warning", until=int(EPOCH + LEASE_SECONDS)))]
    assert world.result.submods[ear.SUBMODULE].emulated
    assert len(list(world.rows.scan("attested"))) == 1


def test_a_lease_is_renewed_half_way_without_another_activation():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
    before = world.proven.pop(NODE)
    world.later(LEASE_SECONDS / 2)
    assert world.proven[NODE].proven == before.proven
    assert len(world.told) == 2
    assert world.verifier.deadline() == world.now + LEASE_SECONDS / 2


def test_what_is_not_renewed_is_over_at_its_end():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
    world.mute.add(NODE)
    world.later(LEASE_SECONDS / 2)
    world.later(ROUND_SECONDS)
    assert world.reason() == "silent"


def test_a_lease_ends_even_while_a_round_is_open():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
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
    world = World()
    chip = SoftwareAttester(b"1")
    world.enter(NODE, chip)
    chip.clock = msgspec.structs.replace(chip.clock, **change)
    world.later(LEASE_SECONDS / 2)
    assert world.reason() == reason


def test_an_owners_hierarchy_key_is_refused():
    world, chip = World(), SoftwareAttester(b"1")
    chip.hierarchy = 0x40000001
    world.enter(NODE, chip)
    assert world.reason() == "ak_hierarchy"


def test_one_endorsement_key_serves_one_node():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
    world.enter(OTHER, SoftwareAttester(b"1"))
    assert world.proven[NODE].proven
    assert world.reason(OTHER) == "identity"


def test_a_node_that_changes_its_chip_is_refused_also_after_a_restart():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"))
    reborn = World()
    reborn.verifier.restore(world.rows)
    reborn.enter(NODE, SoftwareAttester(b"2"))
    assert reborn.reason() == "identity"


def test_a_key_that_does_not_live_beside_the_endorsement_key_shown_is_refused():
    world, other = World(), SoftwareAttester(b"2")
    stolen = asyncio.run(other.identity()).ek
    world.tamper = lambda evidence: msgspec.structs.replace(evidence, ek=stolen)
    world.enter(NODE, SoftwareAttester(b"1"))
    assert world.reason() == "ak_binding"
    assert not list(world.rows.scan("attested"))


def test_old_evidence_and_another_nodes_are_refused():
    world = World()
    kept = []
    world.tamper = lambda evidence: kept.append(evidence) or evidence
    world.enter(OTHER, SoftwareAttester(b"2"))
    theirs = kept[0]
    world.tamper = lambda evidence: msgspec.structs.replace(theirs, nonce=evidence.nonce)
    world.enter(NODE, SoftwareAttester(b"1"))
    assert world.reason() == "nonce"


def test_a_node_without_hardware_is_left_alone_and_proves_nothing():
    world = World()
    world.enter(NODE, SoftwareAttester(b"1"), shows=())
    assert not world.proven
    assert world.verifier.deadline() is None


def test_answers_out_of_turn_change_nothing():
    world = World()
    world.mute.add(NODE)
    world.enter(NODE, SoftwareAttester(b"1"))
    for message in (
        say.Activated(nonce=bytes(32), secret=b"x"),
        say.Evidence(nonce=b"z" * 32, kind=KIND),
        say.Activated(nonce=(1).to_bytes(32, "big"), secret=b""),
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
