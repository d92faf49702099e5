"""Readers of DER, CBOR, JSON spellings and calendar times, against writers and against Python's own (Hypothesis)."""

import base64
import datetime

import mint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from propolis.crypto import cbor, der
from propolis.decisions.appraisal import jsonic
from propolis.terms.calendar import day, rfc3339, seconds
from propolis.terms.errors import Rejected

KEYS = st.integers(-(1 << 32), 1 << 32) | st.text(max_size=8) | st.binary(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)
QUICK = settings(max_examples=200, deadline=None)


def reason_of(call, data):
    try:
        call(data)
    except Rejected as error:
        return error.reason
    return ""


@given(VALUES)
@QUICK
def test_cbor_that_was_written_is_read_as_it_was(value):
    assert cbor.decode(mint.cbor(value)) == value


@given(st.binary(max_size=200))
@QUICK
def test_bytes_are_cbor_or_refused(data):
    assert reason_of(cbor.decode, data) in ("", "cbor", "truncated", "trailing", "oversize")


@given(VALUES, st.binary(min_size=1, max_size=3))
@QUICK
def test_nothing_may_follow_cbor(value, more):
    with pytest.raises(Rejected):
        cbor.decode(mint.cbor(value) + more)


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("truncated", b""),
        ("cbor", b"\x5f\x41a\xff"),
        ("cbor", b"\x9f\xff"),
        ("cbor", b"\xbf\xff"),
        ("cbor", b"\xa2\x01\x01\x01\x02"),
        ("cbor", b"\xa1\xf5\x01"),
        ("cbor", b"\xa1\x80\x01"),
        ("cbor", b"\x61\xff"),
        ("cbor", b"\xe0"),
        ("cbor", b"\xf8\x20"),
        ("cbor", b"\x1c"),
        ("cbor", b"\x81" * 17 + b"\0"),
        ("cbor", b"\x81" * 1000 + b"\0"),
        ("cbor", b"\xc1" * 1000 + b"\0"),
        ("oversize", b"\x5a\xff\xff\xff\xff"),
        ("oversize", b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ("oversize", b"\x9a\x80\0\0\0"),
        ("oversize", b"\xba\x80\0\0\0"),
        ("oversize", b"\x99\x10\0" + b"\0" * 4096),
        ("truncated", b"\x42a"),
        ("trailing", b"\0\0"),
    ],
)
def test_cbor_that_is_refused(reason, data):
    with pytest.raises(Rejected) as caught:
        cbor.decode(data)
    assert caught.value.reason == reason


def test_cbor_of_16_levels_and_floats_is_read():
    assert cbor.decode(b"\x81" * 15 + b"\0")
    assert (
        cbor.decode(b"\xf9\x3c\x00") == cbor.decode(b"\xfa\x3f\x80\0\0") == cbor.decode(b"\xfb\x3f\xf0" + bytes(6)) == 1
    )


@given(st.lists(st.binary(max_size=300), max_size=6))
@QUICK
def test_der_that_was_written_is_read_as_it_was(bodies):
    outer = mint.tlv(0x30, b"".join(mint.tlv(0x04, body) for body in bodies))
    assert [child.body for child in der.children(der.one(outer))] == bodies


@given(st.integers(0, 1 << 200))
@QUICK
def test_numbers_of_der(value):
    assert der.integer(der.one(mint.der_number(value), der.INTEGER), most=1 << 201) == value


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8))
@QUICK
def test_object_identifiers(arcs):
    text = ".".join(map(str, (1, 2, *arcs)))
    assert der.oid(der.one(mint.der_oid(text), der.OID)) == text


@given(st.binary(max_size=200))
@QUICK
def test_bytes_are_der_or_refused(data):
    def walk(data):
        for child in der.children(der.one(data, data[0] if data else 0)):
            der.children(child)

    assert reason_of(walk, data) in ("", "der", "truncated", "trailing", "oversize")


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("der", b"\x30\x80\0\0"),
        ("der", b"\x30\x81\x01\0"),
        ("der", b"\x30\x82\0\x80" + bytes(128)),
        ("der", b"\x3f\x81\x01\0"),
        ("der", b"\x30\x85\0\0\0\0\1\0"),
        ("oversize", b"\x30\x84\xff\xff\xff\xff"),
        ("truncated", b"\x30"),
        ("truncated", b"\x30\x02\0"),
        ("truncated", b"\x30\x82\1"),
        ("trailing", b"\x30\0\0"),
    ],
)
def test_der_that_is_refused(reason, data):
    with pytest.raises(Rejected) as caught:
        der.one(data, 0x30)
    assert caught.value.reason == reason


@given(st.binary(min_size=1, max_size=100))
@QUICK
def test_bytes_in_every_spelling_of_json(data):
    for text in (data.hex(), "0x" + data.hex().upper()):
        assert jsonic.spelt(text, "it") == data
    assert jsonic.octets(list(data), "it") == data
    for text in (base64.b64encode(data), base64.urlsafe_b64encode(data), base64.urlsafe_b64encode(data).rstrip(b"=")):
        assert jsonic.base64_of(text.decode(), "it") == data


@given(st.datetimes(datetime.datetime(1600, 1, 1), datetime.datetime(9999, 12, 31)))
@QUICK
def test_the_calendar_is_pythons(moment):
    moment = moment.replace(microsecond=0)
    wanted = int(moment.replace(tzinfo=datetime.UTC).timestamp())
    assert seconds(*moment.timetuple()[:6]) == wanted
    assert day(wanted) == moment.date().isoformat()
    assert rfc3339(moment.isoformat() + "Z") == wanted
    assert rfc3339(moment.isoformat() + "+02:30") == wanted - 9000
    assert rfc3339(moment.isoformat() + ".5-00:30") == wanted + 1800


@pytest.mark.parametrize(
    "text",
    ["", "2026-06-01", "2026-06-01T00:00:00", "2026-02-29T00:00:00Z", "2026-06-01T24:00:00Z", "2026-06-01T00:00:00+24:00", "x", "\uff12026-06-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time(text):
    with pytest.raises(ValueError):  # noqa: PT011
        rfc3339(text)


def test_days_at_the_ends_of_time():
    assert day(float("inf")) == "9999-12-31"
    assert day(float("nan")) == day(-1e18) == "0000-01-01"
    assert day(1e18) == "9999-12-31"
