"""Bytes in: a message, or MalformedMessage / VersionMismatch. Never another error, never more memory than stated."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.messages import codec
from propolis.messages import envelope as env
from propolis.messages import jobs as say
from propolis.messages.membership import Join, Role
from propolis.messages.rows import Rows
from propolis.terms.errors import MalformedMessage, TooLarge, VersionMismatch


def sealed(message=None, body=(), **kw):
    fields = {"version": env.VERSION, "epoch": 1, "seen": 2, "seq": 3, "ack": 4}
    e = env.Envelope(**{**fields, **kw}, message=message, sizes=tuple(map(len, body)))
    return b"".join(bytes(part) for part in env.pack(env.Packet(e, tuple(body))))


MESSAGES = st.one_of(
    st.builds(
        say.Taken,
        job=st.binary(min_size=16, max_size=16),
        indices=st.lists(st.integers(0, 1_000_000), max_size=50).map(tuple),
    ),
    st.builds(
        say.GuestGone,
        job=st.binary(min_size=16, max_size=16),
        guest=st.binary(min_size=16, max_size=16),
        code=st.text(max_size=60),
        reason=st.text(max_size=200),
        culprit=st.none() | st.integers(0, 2**62),
    ),
    st.builds(Join, role=st.sampled_from(Role), token=st.binary(min_size=16, max_size=64)),
)


@given(MESSAGES, st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_what_is_packed_is_read_back_however_it_is_cut(message, body, step):
    raw = sealed(message, body) * 2
    reader, packets = env.FrameReader(), []
    for start in range(0, len(raw), step):
        packets += reader.feed(raw[start : start + step])
    assert len(packets) == 2
    for packet in packets:
        assert packet.envelope.message == message
        assert [bytes(part) for part in packet.body] == body


@given(st.binary(max_size=500))
def test_random_bytes_are_refused_or_wait_for_more(data):
    try:
        env.FrameReader().feed(data)
    except (MalformedMessage, VersionMismatch):
        pass


@given(MESSAGES, st.data())
@settings(max_examples=300)
def test_flipped_bytes_never_raise_anything_else(message, data):
    raw = bytearray(sealed(message, [b"body"]))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        env.FrameReader().feed(bytes(raw))
    except (MalformedMessage, VersionMismatch):
        pass


@given(st.binary(max_size=200))
def test_every_record_refuses_what_it_is_not(data):
    for kind in (env.Envelope, Rows, say.Submit, Join):
        try:
            codec.decode(data, kind)
        except MalformedMessage:
            continue


def test_oversized_header_is_refused_before_it_is_read():
    with pytest.raises(MalformedMessage, match="out of bounds"):
        env.FrameReader().feed((env.MAX_HEADER + 1).to_bytes(4, "big"))


def test_oversized_body_is_refused_before_it_is_waited_for():
    header = codec.encode([env.VERSION, 1, 1, 1, 1, None, [env.MAX_BODY, 1]])
    with pytest.raises(MalformedMessage):
        env.FrameReader().feed(len(header).to_bytes(4, "big") + header)


def test_our_own_oversized_packet_is_an_error_of_ours():
    part = bytes(env.MAX_BODY)
    with pytest.raises(TooLarge):
        sealed(None, [part, b"x"])


def test_unknown_version_is_named():
    with pytest.raises(VersionMismatch, match="version 9"):
        env.FrameReader().feed(sealed(version=9))


def test_another_version_is_named_however_little_of_it_is_understood():
    for fields in ([9, "a message of tomorrow", {"with": ["fields"]}], [9], [0, 1, 1, 1, 1, [], ["Unknown", 7], []]):
        header = codec.encode(fields)
        with pytest.raises(VersionMismatch, match="update"):
            env.FrameReader().feed(len(header).to_bytes(4, "big") + header)
    for fields in ([], ["9"], [True], [env.VERSION, "nonsense"], {}, 9):
        header = codec.encode(fields)
        with pytest.raises(MalformedMessage):
            env.FrameReader().feed(len(header).to_bytes(4, "big") + header)


def test_deep_nesting_does_not_overflow_the_stack():
    header = b"\x91" * 60_000
    with pytest.raises(MalformedMessage):
        env.FrameReader().feed(len(header).to_bytes(4, "big") + header)


def test_bad_utf8_is_malformed():
    header = codec.encode(
        [env.VERSION, 1, 1, 1, 1, ["guest-gone", b"j" * 16, b"g" * 16, "code", "x", None], []]
    ).replace(b"\xa4code", b"\xa4\xff\xfe\xfd\xfc")
    with pytest.raises(MalformedMessage):
        env.FrameReader().feed(len(header).to_bytes(4, "big") + header)


def test_truncated_frame_yields_nothing():
    raw = sealed(say.Stop(job=os.urandom(16)), [b"abc"])
    assert env.FrameReader().feed(raw[:-1]) == []
