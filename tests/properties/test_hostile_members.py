"""Members that say anything at all: the party they talk to never raises, keeps its invariants, and serves the honest.

Every message is one the codec lets through, built from its type with ids that exist; bodies are arbitrary. The orchestrator's
answers are packed as the wire would pack them.
"""

import msgspec
import pytest
from hostile import of
from hub import EVIL, GUEST, HUB, JOB, KNOWN, NODE, OWNER, POOL, REPORT, SEED, SPEC, Hub, finish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propolis.crypto import credential, identity
from propolis.decisions.privacy import requirement_for
from propolis.messages import codec
from propolis.messages import jobs as say
from propolis.messages.membership import Role, ShowRemovals
from propolis.ports.executor import TaskOutput
from propolis.protocols import session
from propolis.protocols.jobs import events as ev
from propolis.protocols.jobs.release import Release
from propolis.protocols.jobs.submitter import Submitter
from propolis.protocols.jobs.worker import Worker
from propolis.protocols.machine import Mail, TimePassed, WorkDone
from propolis.protocols.removals import REMOVALS
from propolis.terms.capability import CapabilityReport, Isolation, Offer, Rung
from propolis.terms.contact import Contact
from propolis.terms.credential import Removal, Removals, SignedRemovals
from propolis.terms.job import MAX_GRANTED_EACH, Granted, Receipt

OPERATOR_SEED, SECRET = b"w" * 32, b"i" * 32
OPERATOR = identity.public_of(OPERATOR_SEED)
INVITED = credential.take(
    SECRET,
    credential.grant(lambda c, d: identity.sign(OPERATOR_SEED, c, d), HUB, Role.NODE, SECRET, 0),
    NODE,
    until=0,
    joined=0,
)


def fresh_submitter(kept=None):
    return Submitter(Contact(peer=HUB, addresses=()), Release(HUB, OPERATOR, KNOWN, kept))


BODY = st.lists(st.binary(max_size=20), max_size=6).map(tuple)
ANYTHING = st.tuples(of(say.JobMessage, POOL), BODY)
FEW = st.lists(st.integers(0, 3), max_size=4)
ATTEMPTS = st.lists(st.integers((1 << 40) - 1, (1 << 40) + 4), max_size=4)
RESUMES = st.builds(
    lambda indices, attempts, serving: say.Resume(guests=(say.HeldGuest(
        job=JOB, guest=GUEST, serving=serving, receipt=b"", signature=b"", indices=tuple(indices), attempts=tuple(attempts)
    ),)), FEW, ATTEMPTS, st.booleans(),
)  # fmt: skip
MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(300)
@given(
    st.lists(st.tuples(st.sampled_from([EVIL, b"f" * 32]), ANYTHING), max_size=25),
    of(CapabilityReport, POOL),
    RESUMES,
    st.booleans(),
)
@MANY
def test_the_dispatcher_serves_the_honest_beside_members_that_say_anything(words, report, resumed, leaves):
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.NodeEntered(NODE, REPORT, ()))
    hub.tell(session.OwnerEntered(b"f" * 32))
    hub.tell(session.NodeEntered(EVIL, report, ("x:1",)))
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    half = len(words) // 2
    for peer, (message, body) in words[:half]:
        hub.tell(session.Said(peer, message, body))
    hub.tell(session.Said(OWNER, say.PutInputs(job=JOB, indices=tuple(range(20))), (b"i" * 20,) * 20))
    hub.tell(session.Said(EVIL, resumed, ()))
    for peer, (message, body) in words[half:]:
        hub.tell(session.Said(peer, message, body))
    if leaves:
        hub.tell(session.NodeLost(EVIL))
    hub.tell(TimePassed())
    for _ in range(0 if leaves else 40):  # silent from here on, and connected: what it holds comes back by itself
        finish(hub, 3)
        hub.wait(30)
    finish(hub)
    assert hub.machine.desk.jobs[JOB].finished.full, "the honest node finishes the honest owner's job"


@pytest.mark.timeout(300)
@given(st.lists(ANYTHING, max_size=25))
@MANY
def test_a_worker_outlives_an_orchestrator_that_says_anything(words):
    worker = Worker(Contact(peer=HUB, addresses=()), REPORT, KNOWN)
    worker.handle(session.Connected(), 0.0)
    started = {}
    for message, body in words:
        for action in worker.handle(session.Said(HUB, message, body), 1.0):
            worker.check()
            if isinstance(action, ev.StartGuest):
                started[action.order.guest] = action
                assert action.order.slot < REPORT.slots
                worker.handle(WorkDone(action.ticket, ev.Started(b"receipt", bytes(64))), 1.0)
            elif isinstance(action, ev.FetchProgram | ev.GrantGuest):
                worker.handle(WorkDone(action.ticket), 1.0)
            elif isinstance(action, ev.FeedGuest):
                outs = [
                    TaskOutput(index=i.index, attempt=i.attempt, sealed=b"o", milliseconds=1.0) for i in action.inputs
                ]
                worker.handle(ev.GuestReported(action.guest, tuple(outs)), 1.0)
            elif isinstance(action, ev.KillGuest):
                worker.handle(ev.GuestEnded(action.guest, "executor.crashed", "ended"), 1.0)
        worker.check()


@pytest.mark.timeout(300)
@given(st.lists(ANYTHING, max_size=25), st.booleans())
@MANY
def test_an_owner_releases_no_key_to_an_orchestrator_that_says_anything(words, honest_receipt):
    owner = fresh_submitter()
    owner.handle(session.Connected(), 0.0)
    owner.handle(ev.SubmitAsked(SPEC, [20] * 20), 0.0)
    if honest_receipt:  # a true receipt under a false signature
        receipt = codec.encode(
            Receipt(
                node=NODE, job=JOB, guest=GUEST, guest_key=bytes(32), isolation=REPORT.isolation, credential=INVITED
            )
        )
        words = [*words, (say.GrantWanted(job=JOB, receipt=receipt, signature=bytes(64)), ())]
    for message, body in words:
        for action in owner.handle(session.Said(HUB, message, body), 1.0):
            assert not isinstance(action, ev.SealGrant)
            if isinstance(action, ev.OpenResults):
                owner.handle(WorkDone(action.ticket, [False] * len(action.items)), 1.0)
        owner.check()
    assert not owner._jobs[JOB].finished.count, "nothing that does not open counts"


@pytest.mark.parametrize("lie", ["none", "job", "guest_key", "isolation", "node"])
def test_a_receipt_altered_after_it_was_signed_gets_no_key(lie):
    receipt = Receipt(
        node=NODE, job=JOB, guest=GUEST, guest_key=b"k" * 32, isolation=REPORT.isolation, credential=INVITED
    )
    signature = identity.sign(SEED, identity.RECEIPT, codec.encode(receipt))
    other = {"job": b"x" * 16, "guest_key": b"x" * 32, "node": EVIL, "isolation": Isolation(rung=Rung.BARE)}
    if lie != "none":
        receipt = msgspec.structs.replace(receipt, **{lie: other[lie]})
    owner = fresh_submitter()
    owner.handle(session.Connected(), 0.0)
    owner.handle(ev.SubmitAsked(SPEC, [20] * 20), 0.0)
    wanted = say.GrantWanted(job=JOB, receipt=codec.encode(receipt), signature=signature)
    actions = owner.handle(session.Said(HUB, wanted, ()), 1.0)
    assert [type(action) for action in actions] == ([ev.SealGrant] if lie == "none" else [])


@pytest.mark.parametrize("weaker", ["another job", "another requirement"])
def test_a_receipt_truly_signed_for_something_else_is_denied(weaker):
    job = b"x" * 16 if weaker == "another job" else JOB
    receipt = codec.encode(
        Receipt(node=NODE, job=job, guest=GUEST, guest_key=b"k" * 32, isolation=REPORT.isolation, credential=INVITED)
    )
    spec = SPEC if weaker == "another job" else msgspec.structs.replace(SPEC, requirement=requirement_for("private"))
    owner = fresh_submitter()
    owner.handle(session.Connected(), 0.0)
    owner.handle(ev.SubmitAsked(spec, [20] * 20), 0.0)
    signature = identity.sign(SEED, identity.RECEIPT, receipt)
    (mail,) = owner.handle(session.Said(HUB, say.GrantWanted(job=JOB, receipt=receipt, signature=signature), ()), 1.0)
    assert isinstance(mail.message, say.Denied)
    assert mail.message.reason.startswith("custody.denied: ")


@pytest.mark.parametrize("stated", ["", "us", "eu-fr"])
def test_a_receipt_of_another_region_gets_no_key(stated):
    receipt = codec.encode(
        Receipt(
            node=NODE,
            job=JOB,
            guest=GUEST,
            guest_key=b"k" * 32,
            isolation=REPORT.isolation,
            credential=INVITED,
            offer=Offer(region=stated),
        )
    )
    here = msgspec.structs.replace(SPEC, requirement=msgspec.structs.replace(SPEC.requirement, region="eu"))
    owner = fresh_submitter()
    owner.handle(session.Connected(), 0.0)
    owner.handle(ev.SubmitAsked(here, [20] * 20), 0.0)
    wanted = say.GrantWanted(job=JOB, receipt=receipt, signature=identity.sign(SEED, identity.RECEIPT, receipt))
    (action,) = owner.handle(session.Said(HUB, wanted, ()), 1.0)
    if stated == "eu-fr":
        assert isinstance(action, ev.SealGrant)
    else:
        assert "must stay in eu" in action.message.reason


def asked(owner, seed=SEED, *, guest=GUEST, key=b"k" * 32, credential=INVITED):
    """Show an owner a receipt truly signed by the machine of `seed`; return what it does."""
    receipt = codec.encode(
        Receipt(
            node=identity.public_of(seed), job=JOB, guest=guest, guest_key=key, isolation=REPORT.isolation,
            credential=credential,
        )
    )  # fmt: skip
    wanted = say.GrantWanted(job=JOB, receipt=receipt, signature=identity.sign(seed, identity.RECEIPT, receipt))
    (action,) = owner.handle(session.Said(HUB, wanted, ()), 1.0)
    return action


def fresh_owner(granted=()):
    owner = fresh_submitter()
    owner.handle(session.Connected(), 0.0)
    owner.handle(ev.SubmitAsked(SPEC, [20] * 20, b"", granted), 0.0)
    return owner


def chain(*, operator=OPERATOR_SEED, fleet=HUB, role="node", secret=SECRET, member=NODE, granted=None):
    if granted is None:
        granted = credential.grant(lambda c, d: identity.sign(operator, c, d), fleet, role, secret, 0)
    return credential.take(secret, granted, member, until=0, joined=0)


@pytest.mark.parametrize(
    "forged",
    [
        None,
        chain(operator=b"h" * 32),  # the orchestrator's own word
        chain(fleet=b"x" * 32),
        chain(role="owner"),
        chain(granted=bytes(64)),
        chain(member=EVIL),  # another member's credential
        chain(secret=b"z" * 32, granted=INVITED.granted),  # the operator's word on another invitation
    ],
)
def test_a_machine_the_operator_never_invited_gets_no_key(forged):
    """An orchestrator enrols a machine of its own: its receipt is perfect but for the operator's word."""
    denied = asked(fresh_owner(), credential=forged)
    assert isinstance(denied, Mail)
    assert "operator" in denied.message.reason
    assert isinstance(asked(fresh_owner()), ev.SealGrant)


def test_a_guest_id_handed_out_twice_gets_one_key():
    """Two guests under one id would seal two results under one key and nonce; also after the owner's restart."""
    owner = fresh_owner()
    grant = asked(owner)
    (kept, _) = owner.handle(WorkDone(grant.ticket, b"sealed"), 1.0)
    assert isinstance(asked(owner), ev.SealGrant), "the same guest may be told again"
    receipt = codec.decode(codec.decode(kept.writes[0].value, Granted).receipt, Receipt)
    for party in (owner, fresh_owner((receipt,))):
        denied = asked(party, key=b"K" * 32)
        assert "another guest has this id" in denied.message.reason


def test_a_result_of_a_guest_or_node_that_was_never_given_a_key_is_rejected():
    owner = fresh_owner()
    grant = asked(owner)
    owner.handle(WorkDone(grant.ticket, b"sealed"), 1.0)
    for guest, node, good in ((GUEST, NODE, True), (GUEST, EVIL, False), (b"x" * 16, NODE, False)):
        items = (say.TaskResult(index=1, attempt=1, guest=guest, node=node),)
        (action,) = owner.handle(session.Said(HUB, say.Results(job=JOB, items=items), (b"sealed",)), 1.0)
        assert isinstance(action, ev.OpenResults) is good
        if good:
            owner.handle(WorkDone(action.ticket, [False]), 1.0)


def list_of(*removals, number=1, fleet=HUB, seed=OPERATOR_SEED):
    data = codec.encode(Removals(fleet=fleet, number=number, removed=removals))
    return SignedRemovals(data=data, signature=identity.sign(seed, REMOVALS, data))


def shown(owner, signed):
    """The orchestrator shows the owner a list; return what it writes."""
    said = session.Said(HUB, ShowRemovals(signature=signed.signature), (signed.data,))
    return [write for action in owner.handle(said, 1.0) for write in action.writes]


@pytest.mark.parametrize(
    "removal",
    [
        Removal(member=NODE),
        Removal(member=EVIL, invitation=INVITED.invitation),  # another key by the same invitation
    ],
)
def test_a_removed_machine_gets_no_key_and_its_results_are_rejected(removal):
    owner = fresh_owner()
    grant = asked(owner)
    owner.handle(WorkDone(grant.ticket, b"sealed"), 1.0)
    (kept,) = shown(owner, list_of(removal))
    assert "operator removed this machine" in asked(owner, guest=b"y" * 16).message.reason
    items = (say.TaskResult(index=1, attempt=1, guest=GUEST, node=NODE),)
    (action,) = owner.handle(session.Said(HUB, say.Results(job=JOB, items=items), (b"sealed",)), 1.0)
    assert isinstance(action.message, say.Rejected)
    again = fresh_submitter(codec.decode(kept.value, SignedRemovals))
    again.handle(ev.SubmitAsked(SPEC, [20] * 20), 0.0)
    assert isinstance(asked(again), Mail), "it is not forgotten over a restart, whatever the orchestrator shows then"


def test_a_list_of_removals_that_is_old_forged_or_of_another_fleet_changes_nothing():
    owner = fresh_owner()
    assert shown(owner, list_of(Removal(member=NODE), number=5))
    for wrong in (
        list_of(number=5),
        list_of(number=4),
        list_of(number=9, seed=b"h" * 32),
        list_of(number=9, fleet=b"x" * 32),
        SignedRemovals(data=b"junk", signature=identity.sign(OPERATOR_SEED, REMOVALS, b"junk")),
    ):
        assert not shown(owner, wrong)
        assert isinstance(asked(owner), Mail)
    assert shown(owner, list_of(number=6))
    assert isinstance(asked(owner), ev.SealGrant), "the operator may take a removal back"


def test_an_invitation_taken_after_its_end_or_moved_in_time_makes_no_member():
    def sign(context, data):
        return identity.sign(OPERATOR_SEED, context, data)

    granted = credential.grant(sign, HUB, Role.NODE, SECRET, 100)
    for until, joined, word in ((100, 99, ""), (100, 101, "expired"), (200, 101, "not from this fleet's operator")):
        taken = credential.take(SECRET, granted, NODE, until=until, joined=joined)
        said = asked(fresh_owner(), credential=taken)
        assert isinstance(said, ev.SealGrant) if not word else word in said.message.reason
    moved = msgspec.structs.replace(credential.take(SECRET, granted, NODE, until=100, joined=101), joined=99)
    assert "not from this fleet's operator" in asked(fresh_owner(), credential=moved).message.reason


def test_a_node_refuses_a_function_its_lender_did_not_accept_whatever_it_is_told():
    weak = msgspec.structs.replace(REPORT, isolation=Isolation(rung=Rung.FLAT))
    for report, refused in ((weak, True), (msgspec.structs.replace(weak, functions_from=Rung.FLAT), False)):
        worker = Worker(Contact(peer=HUB, addresses=()), report, KNOWN)
        worker.handle(session.Connected(), 0.0)
        out = worker.handle(session.Said(HUB, say.OpenGuests(spec=SPEC, owner=OWNER, guests=(GUEST,)), ()), 1.0)
        gone = [o.message for o in out if isinstance(o, Mail) and isinstance(o.message, say.GuestGone)]
        assert bool(gone) is refused
        assert not refused or "anybody's code" in gone[0].reason


def test_a_node_neither_submits_nor_asks_and_an_owner_resumes_nothing():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.NodeEntered(NODE, REPORT, ()))
    hub.tell(session.Said(NODE, say.Submit(spec=SPEC), ()))
    hub.tell(session.Said(NODE, say.Ask(request=1, what="nodes"), ()))
    assert not hub.machine.desk.jobs
    assert not hub.said_to(NODE, say.Answer)
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    held = say.HeldGuest(job=JOB, guest=GUEST, serving=True, receipt=b"", signature=b"", indices=(), attempts=())
    hub.tell(session.Said(OWNER, say.Resume(guests=(held,)), ()))
    assert not hub.machine.desk.guests


def test_a_node_resumes_no_more_guests_than_it_could_hold():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    hub.tell(session.NodeEntered(EVIL, REPORT, ()))
    ids = [bytes([n]) * 16 for n in range(1, 200)]
    held = tuple(
        say.HeldGuest(job=JOB, guest=guest, serving=True, receipt=b"", signature=b"", indices=(), attempts=())
        for guest in ids
    )
    hub.tell(session.Said(EVIL, say.Resume(guests=held), ()))
    assert len(hub.machine.desk.guests) == 2 * REPORT.slots
    closed = [guest for message in hub.said_to(EVIL, say.CloseGuests) for guest in message.guests]
    assert len(closed) == len(ids) - 2 * REPORT.slots


def test_an_answer_always_fits_a_packet():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    fat = msgspec.structs.replace(REPORT, packages=tuple("x" * 95 + f"{n:05}" for n in range(256)))
    for n in range(700):
        hub.tell(session.NodeEntered(n.to_bytes(32, "big"), fat, ()))
    hub.tell(session.Said(OWNER, say.Ask(request=1, what="nodes"), ()))
    (answer,) = hub.said_to(OWNER, say.Answer)
    assert answer.total == 700


def test_an_owner_has_a_bounded_number_of_unfinished_tasks():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    for n in range(6):
        spec = msgspec.structs.replace(SPEC, job=n.to_bytes(16, "big"), tasks=1_000_000)
        hub.tell(session.Said(OWNER, say.Submit(spec=spec), ()))
    refused = hub.said_to(OWNER, say.Refused)
    assert len(refused) == 2
    assert "tasks in unfinished jobs" in refused[0].reason


def test_a_full_disk_refuses_submissions_and_inputs_and_takes_them_again():
    hub = Hub()
    hub.tell(session.OwnerEntered(OWNER))
    hub.tell(session.DiskFilled(True))
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    assert hub.said_to(OWNER, say.Refused)[0].code == "store.full"
    hub.tell(session.DiskFilled(False))
    hub.tell(session.Said(OWNER, say.Submit(spec=SPEC), ()))
    assert hub.said_to(OWNER, say.Accepted)
    hub.tell(session.DiskFilled(True))
    hub.tell(session.Said(OWNER, say.PutInputs(job=JOB, indices=(0,)), (b"sealed",)))
    assert [message.code for message in hub.said_to(OWNER, say.Refused)] == ["store.full"] * 2
    assert not hub.machine.desk.jobs[JOB].stored.count


def test_one_machine_does_not_take_all_keys_of_a_job_from_the_others():
    """A node whose guests get a key and end, over and over: the honest ones still get theirs."""
    receipts = tuple(
        Receipt(node=NODE, job=JOB, guest=number.to_bytes(16, "big"), guest_key=b"k" * 32, isolation=REPORT.isolation)
        for number in range(MAX_GRANTED_EACH)
    )
    owner = fresh_owner(receipts[1:])
    assert isinstance(asked(owner), ev.SealGrant)
    assert isinstance(asked(owner), ev.SealGrant), "the same guest is counted once"
    assert "too many guests of this machine" in asked(owner, guest=b"y" * 16).message.reason
    assert isinstance(
        asked(owner, b"m" * 32, guest=b"z" * 16, credential=chain(member=identity.public_of(b"m" * 32))), ev.SealGrant
    )
