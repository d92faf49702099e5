"""Bounds on everything: no field that a stranger, a guest or another process fills is without a limit, and all survive a trip."""

import inspect
import sys

import msgspec
import pytest
from hostile import of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propolis.decisions import guarantees, weaknesses
from propolis.messages import blobs, codec, envelope, guest, jobs, membership, program, rows, values, zygote
from propolis.owner import control
from propolis.runtime import invitation
from propolis.terms import credential, evidence, finding, recording, requirement
from propolis.terms.job import MAX_PROGRAM_BYTES, Receipt

ROOMS = (blobs, envelope, guest, jobs, membership, program, rows, values, zygote, control, invitation)
ROOTS = (
    envelope.Envelope, rows.Rows, Receipt, blobs.Wanted, blobs.Manifest, guest.Order, guest.Born, guest.Loaded, guest.Broken,
    guest.Batch, zygote.Request, zygote.Reply, program.Program, values.Outcome, values._ArrayHead, control.FromFollower,
    control.FromHolder, invitation.Invitation, credential.Removals,
    credential.SignedRemovals, requirement.Guarantee, evidence.Attested, guarantees.Table,
    recording.Recording, finding.Findings, weaknesses.Weaknesses,
)  # fmt: skip
NOT_ON_A_WIRE = {"Packet", "_Record", "Request", "Rows"}  # held in memory, or a base class that is never decoded itself


def walk(info, path, seen):
    """Yield the path of every field without a bound; `seen` gathers the records met."""
    match info:
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            if cls not in seen:
                seen.add(cls)
                for field in fields:
                    yield from walk(field.type, f"{cls.__name__}.{field.name}", seen)
        case msgspec.inspect.UnionType(types=types):
            for kind in types:
                yield from walk(kind, path, seen)
        case msgspec.inspect.TupleType(item_types=items):
            for item in items:
                yield from walk(item, path, seen)
        case msgspec.inspect.VarTupleType(item_type=item, max_length=most):
            if most is None:
                yield f"{path}: a tuple of any length"
            yield from walk(item, f"{path}[]", seen)
        case msgspec.inspect.DictType(key_type=key, value_type=value, max_length=most):
            if most is None:
                yield f"{path}: a dict of any length"
            yield from walk(key, f"{path} key", seen)
            yield from walk(value, f"{path} value", seen)
        case msgspec.inspect.StrType(max_length=None) | msgspec.inspect.BytesType(max_length=None):
            yield f"{path}: {type(info).__name__} of any length"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            if (info.ge is None and info.gt is None) or (info.le is None and info.lt is None):
                yield f"{path}: {type(info).__name__} of any size"
        case (
            msgspec.inspect.StrType()
            | msgspec.inspect.BytesType()
            | msgspec.inspect.EnumType()
            | msgspec.inspect.LiteralType()
            | msgspec.inspect.BoolType()
            | msgspec.inspect.NoneType()
        ):
            return
        case _:  # lists, dicts, anything else: there is no need for one, so there is none
            yield f"{path}: {type(info).__name__}"


def walked():
    seen, found = set(), []
    for root in ROOTS:
        found += walk(msgspec.inspect.type_info(root), str(root), seen)
    return found, seen


def test_no_field_of_any_message_is_unbounded():
    found, _ = walked()
    assert found == []


def test_the_walk_meets_every_record_there_is():
    _, seen = walked()
    for room in ROOMS:
        for name, cls in inspect.getmembers(sys.modules[room.__name__], inspect.isclass):
            mine = issubclass(cls, msgspec.Struct) and cls.__module__ == room.__name__
            assert not mine or cls in seen or name in NOT_ON_A_WIRE, f"{room.__name__}.{name} is not walked"


@pytest.mark.parametrize(
    "kind", [str, bytes, tuple[int, ...], dict[str, int], list[int], int, float, msgspec.Raw, object, int | None]
)
def test_the_walk_fails_on_what_has_no_bound(kind):
    record = msgspec.defstruct("R", [("x", kind)])
    assert list(walk(msgspec.inspect.type_info(record), "", set()))


def records(kind):
    """Return every record type that can be decoded by itself under a union."""
    info = msgspec.inspect.type_info(kind)
    return [item.cls for item in (info.types if isinstance(info, msgspec.inspect.UnionType) else (info,))]


FILES = (guarantees.Table, recording.Recording, finding.Findings, weaknesses.Weaknesses)  # they travel by no wire
ALONE = [cls for root in ROOTS if root not in FILES for cls in records(root)]
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("cls", ALONE, ids=lambda cls: cls.__name__)
@given(data=st.data())
@FEW
def test_every_record_survives_a_trip(cls, data):
    record = data.draw(of(cls))
    assert codec.decode(codec.encode(record), cls) == record


@pytest.mark.parametrize("cls", records(envelope.Message), ids=lambda cls: cls.__name__)
@given(data=st.data())
@FEW
def test_every_message_survives_a_trip_in_its_frame(cls, data):
    message, body = data.draw(of(cls)), data.draw(st.lists(st.binary(max_size=30), max_size=4))
    head = envelope.Envelope(
        version=envelope.VERSION, epoch=1, seen=2, seq=3, ack=4, message=message, sizes=tuple(map(len, body))
    )
    raw = b"".join(map(bytes, envelope.pack(envelope.Packet(head, tuple(body)))))
    (back,) = envelope.FrameReader().feed(raw)
    assert back.envelope.message == message
    assert [bytes(part) for part in back.body] == body


def test_all_messages_are_tried():
    assert len(records(envelope.Message)) == 42


def test_a_program_has_one_bound_that_holds_its_chunks_and_its_record():
    assert blobs.MAX_CHUNKS * blobs.CHUNK == MAX_PROGRAM_BYTES
    assert len(codec.encode(blobs.Manifest(size=1, chunks=(bytes(32),) * blobs.MAX_CHUNKS))) <= blobs.MAX_WORD
    assert MAX_PROGRAM_BYTES < control.MAX_RECORD < 2**32
