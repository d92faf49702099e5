"""Attestation results as JWTs: what is signed is read back, anything else is refused by name."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from propolis.crypto import ear
from propolis.crypto.binding import Purpose, bind
from propolis.terms.errors import Rejected
from propolis.terms.trust import Tier, Vector, tier

KEY = Ed25519PrivateKey.from_private_bytes(b"v" * 32)
VERIFIER = KEY.public_key().public_bytes_raw()
VECTOR = Vector(instance_identity=2, hardware=2, executables=3)


def result(**changes):
    appraisal = ear.Appraisal(
        status=VECTOR.status, vector=VECTOR, policies=("default",), claims=("endorsed",), technology="tpm"
    )
    return ear.Result(
        **{
            "iat": 100, "exp": 700, "node": "ab" * 32, "nonce": "cd" * 32, "submods": {"node": appraisal},
            "verifier": ear.VerifierId(developer="propolis", build="0.1.0"), **changes,
        }
    )  # fmt: skip


def refused(reason, text, now=150.0, verifier=VERIFIER):
    with pytest.raises(Rejected) as caught:
        ear.verify(text, verifier, now)
    assert caught.value.reason == reason


def test_what_is_signed_is_read_back_and_has_the_names_of_the_draft():
    text = ear.sign(result(), KEY.sign)
    assert ear.verify(text, VERIFIER, 150.0) == result()
    body = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    assert body["eat_profile"] == ear.PROFILE
    assert body["submods"]["node"]["ear_status"] == "affirming"
    assert body["submods"]["node"]["ear_trustworthiness_vector"] == {
        "instance-identity": 2,
        "executables": 3,
        "hardware": 2,
    }


@pytest.mark.parametrize("now", [99.0, 700.0, 1e9, float("nan")])
def test_out_of_its_time_it_is_nothing(now):
    refused("ear_expired", ear.sign(result(), KEY.sign), now)


def test_another_verifier_algorithm_or_shape_is_refused():
    text = ear.sign(result(), KEY.sign)
    refused("signature", text, verifier=b"x" * 32)
    head, body, signature = text.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    refused("ear_alg", f"{none}.{body}.{signature}")
    refused("ear_format", f"{head}.{body}")
    refused("ear_format", f"{head}.{body}.{signature}=")
    refused("oversize", text + "A" * ear.MAX_EAR)
    refused("ear_claims", ear.sign(result(submods={}), KEY.sign))
    refused("ear_claims", ear.sign(result(profile="tag:other"), KEY.sign))


@given(st.integers(0, 10**6), st.sampled_from("ABCabc019-_.="))
def test_no_changed_letter_passes(place, letter):
    text = ear.sign(result(), KEY.sign)
    place %= len(text)
    if text[place] != letter:
        with pytest.raises(Rejected):
            ear.verify(text[:place] + letter + text[place + 1 :], VERIFIER, 150.0)


@given(st.text(max_size=300))
def test_any_text_is_refused_by_name(text):
    with pytest.raises(Rejected):
        ear.verify(text, VERIFIER, 150.0)


def test_tiers_are_those_of_the_draft():
    wanted = {-1: "none", 0: "none", 1: "none", 2: "affirming", 31: "affirming", 32: "warning", 95: "warning",
              96: "contraindicated", 127: "contraindicated", -2: "affirming", -32: "warning", -96: "contraindicated"}  # fmt: skip
    assert {value: tier(value).value for value in wanted} == wanted
    assert Vector().status is Tier.NONE
    assert Vector(hardware=2, executables=33).status is Tier.WARNING
    assert Vector(hardware=97, executables=2).status is Tier.CONTRAINDICATED


def test_every_part_of_the_binding_counts_and_none_runs_into_another():
    parts = {"nonce": b"n" * 32, "node": b"i" * 32, "purpose": Purpose.GUEST, "key": b"k" * 32, "channel": b"c"}
    base = bind(**parts)
    others = {**parts, "nonce": b"m" * 32}, {**parts, "node": b"j" * 32}, {**parts, "purpose": Purpose.MEMBER}
    more = {**parts, "key": b""}, {**parts, "channel": b""}, {**parts, "key": b"k" * 31, "channel": b"kc"}
    assert len({base, *(bind(**p) for p in (*others, *more))}) == 7


def resigned(body):
    head = ear.sign(result(), KEY.sign).split(".")[0]
    signed = f"{head}.{ear._text(body)}"
    return f"{signed}.{ear._text(KEY.sign(signed.encode()))}"


def test_a_verifier_that_signs_nonsense_is_refused_as_anybody():
    """Whoever reads a result did not choose who signs it: an orchestrator may sign what no reader can hold."""
    body = ear.sign(result(), KEY.sign).split(".")[1]
    plain = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    refused("ear_claims", resigned(b'{"x":' + b"[" * 9000))
    refused("ear_claims", resigned(plain.replace(b'"exp":700', b'"exp":1' + b"0" * 400)))
    refused("ear_claims", resigned(plain.replace(b'"iat":100', b'"iat":-1')))
