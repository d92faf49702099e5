"""Values travel and come back equal; bytes of a stranger become a value or MalformedMessage and never run anything."""

import pickle

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from propolis.messages import values
from propolis.messages.guest import Frames, Tag, frame, open_batch
from propolis.messages.membership import Role
from propolis.runtime.invitation import Invitation, from_text, to_text
from propolis.terms.errors import DataError, InvitationRefused, MalformedMessage

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
ARRAYS = hnp.arrays(
    st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(), hnp.boolean_dtypes()),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@given(PLAIN)
def test_plain_values_come_back(value):
    assert values.decode(values.encode(value)) == value


@given(ARRAYS)
def test_arrays_come_back(array):
    back = values.decode(values.encode({"a": array}))["a"]
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_or_malformed(data):
    try:
        values.decode(data)
    except MalformedMessage:
        pass


@given(ARRAYS, st.data())
def test_flipped_bytes_of_an_array_are_a_value_or_malformed(array, data):
    raw = bytearray(values.encode(array))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        values.decode(bytes(raw))
    except MalformedMessage:
        pass


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize("value", [object(), Bomb(), 2**70, np.array([object()]), {"f": print}])
def test_what_cannot_travel_is_named(value):
    with pytest.raises(DataError):
        values.encode(value)


def test_a_pickle_is_only_bytes():
    with pytest.raises(MalformedMessage):
        values.decode(pickle.dumps(Bomb()))


@given(st.binary(max_size=200))
def test_guest_frames_are_read_or_malformed(data):
    try:
        for tag, payload in Frames().feed(data):
            if tag in (Tag.TASKS, Tag.RESULTS):
                open_batch(payload)
    except MalformedMessage:
        pass


def test_a_frame_over_the_limit_is_refused_before_it_is_kept():
    with pytest.raises(MalformedMessage, match="out of bounds"):
        Frames(limit=100).feed(frame(Tag.GRANT, bytes(101)))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.data())
def test_an_invitation_is_read_whole_or_refused(fleet, token, data):
    invitation = Invitation(fleet=fleet, addresses=("127.0.0.1:1", "ws://[::1]:2"), token=token, role=Role.NODE)
    text = to_text(invitation)
    assert from_text(f"  {text}\n") == invitation
    at = data.draw(st.integers(len("propolis1-"), len(text) - 2))
    changed = text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :]
    with pytest.raises(InvitationRefused):
        from_text(changed)
    with pytest.raises(InvitationRefused):
        from_text(text[:at])


def claimed(dtype, shape, raw=b""):
    head = msgspec.msgpack.encode((dtype, shape))
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(1, len(head).to_bytes(2, "big") + head + raw))


@pytest.mark.parametrize("dtype", ["<U0", "|S0"])
@pytest.mark.parametrize("shape", [(1,), (2**30,), (2**40,), (2**40, 2**40), ()])
def test_places_without_bytes_do_not_make_an_array(dtype, shape):
    with pytest.raises(MalformedMessage):
        values.decode(claimed(dtype, shape))


@pytest.mark.parametrize("shape", [(2**40, 0), (2**11, 2**11, 0), (2**40, 2**40, 0), (0, 2**40, 2**40)])
def test_an_empty_array_reads_out_as_little(shape):
    try:
        value = values.decode(claimed("<f8", shape))
    except MalformedMessage:
        return
    assert len(str(value.tolist())) < 100


@pytest.mark.parametrize("shape", [(0,), (0, 1000, 1000, 3), (64, 0), (0, 0)])
def test_honest_empty_arrays_come_back(shape):
    assert values.decode(values.encode(np.zeros(shape))).shape == shape


def test_a_value_too_large_for_memory_is_malformed(monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(values, "array_from", full)
    with pytest.raises(MalformedMessage):
        values.decode(claimed("<f8", (1,), bytes(8)))
