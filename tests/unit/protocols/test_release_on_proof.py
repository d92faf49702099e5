"""The owner's last gate where a job rests on hardware: whose evidence opens it, and what the grant opens in (job.md, 5a to 6b)."""

import asyncio
import secrets

import msgspec
import pytest
from hub import GUEST, HUB, JOB, KNOWN, NODE, SEED

from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto import credential, identity
from propolis.crypto.binding import Purpose, bind
from propolis.crypto.tpm import bound, public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.privacy import requirement_for
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.attestation import MAX_EVIDENCE, Evidence
from propolis.messages.membership import Role, ShowPolicy, ShowRemovals
from propolis.protocols import policies, removals, session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs import vouching
from propolis.protocols.jobs.release import Release
from propolis.protocols.jobs.submitter import Submitter
from propolis.protocols.machine import Mail, Persist, WorkDone
from propolis.terms.capability import Isolation, Rung
from propolis.terms.contact import Contact
from propolis.terms.credential import Removal, Removals, SignedRemovals
from propolis.terms.errors import SealBroken, TpmError
from propolis.terms.identity import GuestId, JobId
from propolis.terms.job import BlobRef, Challenge, Granted, JobSpec, Kind, Receipt
from propolis.terms.policy import PolicyOrder, SignedPolicy
from propolis.terms.requirement import Adversary, Asset, Demand, Hardware, Requirement

OPERATOR_SEED, SECRET = b"w" * 32, b"i" * 32
OPERATOR = identity.public_of(OPERATOR_SEED)
INVITED = credential.take(
    SECRET,
    credential.grant(lambda c, d: identity.sign(OPERATOR_SEED, c, d), HUB, Role.NODE, SECRET, 0),
    NODE,
    until=0,
    joined=0,
)
PCRS, KEY, NONCE = (0, 4, 7), b"k" * 32, b"c" * 32
NEEDS_TPM = Requirement(
    keyword="x", demands=(Demand(asset=Asset.STORED_DATA, adversary=Adversary.MALWARE, least=Hardware()),)
)
SPEC = JobSpec(
    job=JOB, name="t", kind=Kind.FUNCTION, tasks=20, program=BlobRef(blob=b"p" * 32, size=1), requirement=NEEDS_TPM,
    challenge=Challenge(nonce=NONCE, pcrs=PCRS, bank=Alg.SHA256),
)  # fmt: skip
EPOCH = 1_800_000_000.0


def chip(seed=b"1", **clock):
    made = SoftwareAttester(seed)
    made.clock = msgspec.structs.replace(made.clock, **{"firmware": 0x0007_0055_0000_0000, **clock})
    return made


def named(machine):
    return public.parse(asyncio.run(machine.identity()).ek).name.hex()


def policy(*machines, number=1, seed=OPERATOR_SEED, fleet=HUB, more=""):
    approved = "".join(f'[[approved]]\nek = "{named(each)}"\nmaker = "IFX"\n' for each in machines)
    text = f'name = "test"\npcrs = {list(PCRS)}\n{more}\n{approved}'.encode()
    data = codec.encode(PolicyOrder(fleet=fleet, number=number, text=text))
    return SignedPolicy(data=data, signature=identity.sign(seed, policies.POLICY, data))


def shown(machine, *, nonce=NONCE, node=NODE, key=KEY, job=JOB, guest=GUEST, purpose=Purpose.GUEST, **changes):
    channel = vouching.channel(JobId(job), GuestId(guest))
    binding = bind(nonce, node, purpose, key=key, channel=channel)
    keys, quoted = asyncio.run(machine.identity()), asyncio.run(machine.show(binding, PCRS, Alg.SHA256))
    said = Evidence(
        nonce=nonce, kind="tpm2-quote/1", ek=keys.ek, ak=keys.ak, srk=keys.srk, srk_attest=quoted.srk_attest,
        srk_signature=quoted.srk_signature, attest=quoted.attest, signature=quoted.signature,
        pcrs=tuple(quoted.values), values=tuple(quoted.values.values()),
    )  # fmt: skip
    return codec.encode(msgspec.structs.replace(said, **changes)), b"", b""


def owner(*machines, signed=None, rehearse=False):
    release = Release(HUB, OPERATOR, KNOWN, None, signed or policy(*machines), rehearse=rehearse)
    made = Submitter(Contact(peer=HUB, addresses=()), release, epoch=EPOCH)
    made.handle(session.Connected(), 0.0)
    made.handle(ev.SubmitAsked(SPEC, [20] * 20), 0.0)
    return made


def asked(made, body, *, guest=GUEST, key=KEY):
    receipt = codec.encode(
        Receipt(
            node=NODE, job=JOB, guest=guest, guest_key=key, isolation=Isolation(rung=Rung.NAMESPACES),
            credential=INVITED,
        )
    )  # fmt: skip
    wanted = say.GrantWanted(job=JOB, receipt=receipt, signature=identity.sign(SEED, identity.RECEIPT, receipt))
    out = made.handle(session.Said(HUB, wanted, body), 1.0)
    made.check()
    return out[-1]


def denied(made, body, **more):
    answer = asked(made, body, **more)
    assert isinstance(answer, Mail)
    assert isinstance(answer.message, say.Denied), answer
    return answer.message.reason


def test_a_machine_that_proved_itself_gets_the_key_and_what_it_proved_is_kept():
    made = owner(chip())
    seal = asked(made, shown(chip()))
    assert isinstance(seal, ev.SealGrant)
    assert seal.machine.registers.keys() == set(PCRS)
    (persist, grant) = made.handle(WorkDone(seal.ticket, b"sealed"), 1.0)
    kept = codec.decode(persist.writes[0].value, Granted)
    assert {each.technology for each in kept.proven} == {"tpm", "measured-boot"}
    assert "sealed-to-policy" in kept.proven[0].claims
    assert grant.message.sealed == b"sealed"


def test_the_grant_opens_in_that_machine_as_it_was_quoted_and_nowhere_else():
    machine = chip()
    seal = asked(owner(machine), shown(machine))
    info = vouching.info(JobId(JOB), GuestId(GUEST), NODE)
    sealed = bound.read(bound.seal(seal.machine, b"the grant", info, secrets.token_bytes))
    assert bound.opened(sealed, *asyncio.run(machine.unwrap(sealed)), info) == b"the grant"
    with pytest.raises(TpmError):
        asyncio.run(chip(b"2").unwrap(sealed))
    parts = asyncio.run(machine.unwrap(sealed))
    with pytest.raises(SealBroken):
        bound.opened(sealed, *parts, vouching.info(JobId(JOB), GuestId(b"h" * 16), NODE))
    machine.registers[4] = b"x" * 32
    with pytest.raises(TpmError):
        asyncio.run(machine.unwrap(sealed))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonce": b"d" * 32}, "nonce: it answers another job's challenge"),
        ({"node": b"m" * 32}, "nonce"),
        ({"key": b"l" * 32}, "nonce"),
        ({"job": b"i" * 16}, "nonce"),
        ({"guest": b"h" * 16}, "nonce"),
        ({"purpose": Purpose.MEMBER}, "nonce"),
        ({"srk": b"", "srk_attest": b""}, "names no storage key"),
        ({"srk_signature": b"\0" * 40}, "its evidence is refused"),
        ({"pcrs": (0, 4), "values": (b"\0" * 32,) * 2}, "pcr_missing"),
        ({"pcrs": (0, 4, 7), "values": (b"\0" * 32,) * 2}, "pcr_missing"),
        ({"values": (b"\1" * 32,) * 3}, "pcr_digest"),
        ({"ek": b""}, "ek_key"),
        ({"reason": "the chip is away"}, "the chip is away"),
    ],
)
def test_evidence_of_something_else_opens_nothing(change, reason):
    assert reason in denied(owner(chip()), shown(chip(), **change))


def test_no_evidence_too_much_of_it_and_noise_open_nothing():
    made = owner(chip())
    body = shown(chip())
    assert "showed no evidence" in denied(made, ())
    assert "oversize" in denied(made, (body[0], b"x" * MAX_EVIDENCE, b""))
    assert "envelope_field" in denied(made, (b"noise", b"", b""))
    assert "envelope_field" in denied(made, body[:2])
    assert "nothing here proves" in denied(made, ())


def test_a_key_that_only_the_orchestrator_calls_proven_waits_for_the_operator():
    assert "has no maker's certificate" in denied(owner(chip(b"2")), shown(chip()))


def test_an_emulated_chip_is_refused_whatever_the_operator_vouches_for():
    emulated = SoftwareAttester(b"1")
    assert "emulated" in denied(owner(emulated), shown(emulated))


def test_a_node_that_shows_another_chip_than_before_gets_nothing():
    made = owner(chip(), chip(b"2"))
    seal = asked(made, shown(chip()))
    made.handle(WorkDone(seal.ticket, b"sealed"), 1.0)
    other = b"h" * 16
    assert "identity" in denied(made, shown(chip(b"2"), guest=other), guest=other)


def test_a_machine_whose_past_came_back_gets_nothing():
    made = owner(chip())
    made.handle(WorkDone(asked(made, shown(chip(resets=5))).ticket, b"sealed"), 1.0)
    other = b"h" * 16
    assert "clock_rollback" in denied(made, shown(chip(resets=4), guest=other), guest=other)


def test_what_was_seen_of_a_machine_outlives_the_client():
    made = owner(chip(), chip(b"2"))
    out = []
    receive = made.handle

    def noted(event, now):
        out.extend(receive(event, now))
        return out[-1:]

    made.handle = noted
    asked(made, shown(chip()))
    (row,) = [w for action in out if isinstance(action, Persist) for w in action.writes if w.table == vouching.TABLE]
    again = Submitter(
        Contact(peer=HUB, addresses=()),
        Release(HUB, OPERATOR, KNOWN, None, policy(chip(), chip(b"2"))),
        {NODE: codec.decode(row.value, vouching.Row)},
        EPOCH,
    )
    again.handle(session.Connected(), 0.0)
    again.handle(ev.SubmitAsked(SPEC, [20] * 20), 0.0)
    assert "identity" in denied(again, shown(chip(b"2")))


@pytest.mark.parametrize(
    "forged",
    [
        policy(chip(), seed=b"q" * 32, number=9),
        policy(chip(), fleet=b"z" * 32, number=9),
        policy(chip(), number=1),
        SignedPolicy(data=b"", signature=bytes(64)),
    ],
)
def test_a_policy_that_is_forged_old_or_of_another_fleet_changes_nothing(forged):
    made = owner(signed=policy(chip(b"2"), number=2))
    made.handle(session.Said(HUB, ShowPolicy(signature=forged.signature), (forged.data,)), 1.0)
    assert "no maker's certificate" in denied(made, shown(chip()))


def test_nothing_is_released_under_a_policy_of_the_operators_that_is_not_understood_and_it_is_kept():
    """The operator's newer word may be narrower than the one we know: going on by that would be a silent downgrade."""
    newer = policy(chip(), number=9, more="colour = 1")
    made = owner(signed=policy(chip(), number=2))
    (kept,) = made.handle(session.Said(HUB, ShowPolicy(signature=newer.signature), (newer.data,)), 1.0)
    assert "policy number 9 is not understood" in denied(made, shown(chip()))
    again = owner(signed=codec.decode(kept.writes[0].value, SignedPolicy))
    assert "update Propolis" in denied(again, shown(chip()))
    newest = policy(chip(), number=10)
    made.handle(session.Said(HUB, ShowPolicy(signature=newest.signature), (newest.data,)), 1.0)
    assert isinstance(asked(made, shown(chip())), ev.SealGrant)


def test_a_newer_policy_of_the_operators_counts_from_then_on_and_is_kept():
    made = owner(signed=policy(chip(b"2"), number=2))
    newer = policy(chip(), number=3)
    (kept,) = made.handle(session.Said(HUB, ShowPolicy(signature=newer.signature), (newer.data,)), 1.0)
    assert codec.decode(kept.writes[0].value, SignedPolicy) == newer
    assert isinstance(asked(made, shown(chip())), ev.SealGrant)


def test_a_policy_that_asks_for_other_registers_wants_the_job_anew():
    made = owner(signed=policy(chip(), number=1))
    newer = policy(chip(), number=2)
    order = codec.decode(newer.data, PolicyOrder)
    text = order.text.replace(b"[0, 4, 7]", b"[0, 7]")
    data = codec.encode(msgspec.structs.replace(order, text=text))
    signature = identity.sign(OPERATOR_SEED, policies.POLICY, data)
    made.handle(session.Said(HUB, ShowPolicy(signature=signature), (data,)), 1.0)
    assert "submit the job again" in denied(made, shown(chip()))


def test_a_job_without_hardware_demands_asks_for_no_evidence_and_takes_none():
    made = owner(chip())
    plain = msgspec.structs.replace(SPEC, challenge=None, requirement=requirement_for("trusted-lenders"))
    made.handle(ev.SubmitAsked(plain, [20] * 20), 0.0)
    seal = asked(made, (b"noise", b"", b""))
    assert isinstance(seal, ev.SealGrant)
    assert seal.machine is None


def test_an_owner_that_does_not_rehearse_hears_which_option_accepts_that():
    emulated = SoftwareAttester(b"1")
    rehearses = policy(more=f'[rehearsal]\ni_know_that_an_emulated_tpm_proves_nothing = true\nroots = ["{"a" * 64}"]\n')
    reason = denied(owner(signed=rehearses), shown(emulated))
    assert "its evidence is refused, emulated" in reason
    assert "--i-rehearse-with-emulated-tpms" in reason
    assert "--i-rehearse" not in denied(owner(signed=policy()), shown(emulated)), "the fleet itself does not rehearse"
    assert "--i-rehearse" not in denied(owner(signed=rehearses, rehearse=True), shown(emulated)), (
        "it is accepted already"
    )


def test_evidence_that_was_overtaken_on_its_way_is_no_rollback():
    """Two guests of one machine: what was quoted first may come last, after a reconnect."""
    made = owner(chip())
    made.handle(WorkDone(asked(made, shown(chip(clock=90_000))).ticket, b"sealed"), 1.0)
    other = b"h" * 16
    assert isinstance(asked(made, shown(chip(clock=80_000), guest=other), guest=other), ev.SealGrant)


def test_evidence_of_a_machine_nobody_invited_is_not_even_judged(monkeypatch):
    made = owner(chip())
    monkeypatch.setattr("propolis.protocols.jobs.release.vouch", lambda *_: pytest.fail("judged"))
    receipt = codec.encode(
        Receipt(node=NODE, job=JOB, guest=GUEST, guest_key=KEY, isolation=Isolation(rung=Rung.NAMESPACES))
    )
    wanted = say.GrantWanted(job=JOB, receipt=receipt, signature=identity.sign(SEED, identity.RECEIPT, receipt))
    (answer,) = made.handle(session.Said(HUB, wanted, shown(chip())), 1.0)
    assert "never invited" in answer.message.reason


def test_an_owners_memory_of_a_machine_is_not_walked_back_step_by_step():
    made, start = owner(chip()), 3_000_000
    for step in range(3):
        guest = bytes([step]) * 16
        answer = asked(made, shown(chip(clock=start - step * 200_000), guest=guest), guest=guest)
        assert isinstance(answer, ev.SealGrant) == (step < 2), "more than what may be overtaken, in all"


def signed_removal(*nodes):
    gone = tuple(Removal(member=node) for node in nodes)
    data = codec.encode(Removals(fleet=HUB, number=1, removed=gone))
    return SignedRemovals(data=data, signature=identity.sign(OPERATOR_SEED, removals.REMOVALS, data))


@pytest.mark.parametrize("word", ["removal", "policy"])
def test_a_key_that_is_being_sealed_stays_when_the_operators_word_comes_in_between(word):
    machine = chip()
    made = owner(machine)
    sealing = asked(made, shown(machine))
    assert isinstance(sealing, ev.SealGrant)
    told = signed_removal(NODE) if word == "removal" else policy(number=2)
    kind = ShowRemovals if word == "removal" else ShowPolicy
    made.handle(session.Said(HUB, kind(signature=told.signature), (told.data,)), 1.0)
    answer = made.handle(WorkDone(sealing.ticket, b"sealed"), 1.0)[-1]
    assert isinstance(answer.message, say.Denied), answer
    assert ("removed" if word == "removal" else "policy changed") in answer.message.reason


def test_a_key_for_an_emulated_machine_is_sealed_as_one(monkeypatch):
    """Whoever seals it looks once more whether its owner rehearses still (tests/unit/test_withdrawn.py)."""
    found = Release.vouched

    def rehearsed(*asked):
        vouched = found(*asked)
        proven = tuple(msgspec.structs.replace(each, emulated=True) for each in vouched.proven)
        return msgspec.structs.replace(vouched, proven=proven)

    assert not asked(owner(chip()), shown(chip())).emulated
    monkeypatch.setattr(Release, "vouched", rehearsed)
    assert asked(owner(chip()), shown(chip())).emulated
