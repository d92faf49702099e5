"""Rows on what evidence is wrapped in, and on who it is said to be of."""

import base64
import json

import mint
import mint_tpm
import msgspec
from given import refusal

from propolis.crypto import ear, identity
from propolis.messages import codec
from propolis.messages.attestation import Challenge
from propolis.messages.jobs import JobMessage
from propolis.terms.errors import Rejected
from propolis.terms.trust import Tier

REPORT = mint.snp_report()


def snp(data):
    return refusal("snp-report", data, *mint.snp())


def wrapped(**more):
    return json.dumps({"type": "snp-report/1", "evidence": REPORT.hex(), **more}).encode()


def kind(name):
    return refusal(name, REPORT, *mint.snp())


def tpm(**more):
    from propolis.decisions.appraisal import tpm2_bundle

    found = json.loads(tpm2_bundle.written(mint_tpm.evidence()))
    return refusal("tpm2-quote", json.dumps({**found, **more}).encode(), mint.endorsements(), mint_tpm.maker_roots())


def result_of(node):
    """A result that the verifier really signed, of a node whose name is odd."""
    head = base64.urlsafe_b64encode(msgspec.json.encode({"alg": "EdDSA", "typ": "JWT"})).rstrip(b"=")
    appraisal = msgspec.json.encode(ear.Appraisal(status=Tier.NONE))
    claims = json.dumps({
        "iat": 1, "exp": 10, "propolis_node": "NODE", "ear_verifier_id": {"developer": "propolis", "build": "1"},
        "submods": {"node": json.loads(appraisal)}, "eat_profile": ear.PROFILE,
    }).encode().replace(b"NODE", node)  # fmt: skip
    body = base64.urlsafe_b64encode(claims).rstrip(b"=")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = Ed25519PrivateKey.from_private_bytes(b"v" * 32).sign(head + b"." + body)
    text = (head + b"." + body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
    return ear.verify(text, identity.public_of(b"v" * 32), 5)


def named(node):
    """A message that names a node: ids are 32 bytes, never text."""
    from propolis.terms.errors import MalformedMessage

    try:
        codec.decode(codec.encode(["challenge", node, [0], 11]), Challenge)
        codec.decode(codec.encode(["release", node]), JobMessage)
    except MalformedMessage as error:
        raise Rejected("malformed", str(error)) from error


HONEST = b"ab" * 32
ROWS = [
    ("envelope: honest", lambda: snp(wrapped()), ""),
    ("envelope: unknown type", lambda: kind("sev-report/1"), "envelope_type"),
    ("envelope: unknown version", lambda: kind("snp-report/9"), "envelope_type"),
    ("envelope: a type that is a path", lambda: kind("../snp-report"), "envelope_type"),
    ("envelope: another type inside", lambda: snp(wrapped(type="tdx-quote/1")), "envelope_type"),
    ("envelope: two evidences", lambda: snp(wrapped(report=REPORT.hex())), "envelope_evidence"),
    ("envelope: two evidences of a TPM", lambda: tpm(quote="00"), "envelope_evidence"),
    ("envelope: registers of a bank that is not taken", lambda: tpm(pcrs={"sm3": {"0": "00" * 32}}, bank="sm3"), "hash_alg"),
    ("envelope: a key twice", lambda: snp(b'{"evidence": "00", "evidence": "01"}'), "envelope_json"),
    ("envelope: oversize base64", lambda: snp(b"A" * (4 << 20) + b"A"), "oversize"),
    ("envelope: oversize base64 in JSON", lambda: tpm(ak="A" * (4 << 20)), "oversize"),
    ("envelope: base64 that breaks off", lambda: snp(b"A"), "envelope_encoding"),
    ("envelope: invalid UTF-8", lambda: tpm_bytes(b'{"ak": "\xff"}'), "envelope_json"),
    ("envelope: NaN", lambda: snp(b'{"evidence": NaN}'), "envelope_json"),
    ("envelope: a path for evidence", lambda: snp(wrapped(evidence="../../etc/passwd")), "envelope_encoding"),
    ("envelope: node id of invalid UTF-8", lambda: result_of(b"\xff\xfe"), "ear_claims"),
    ("envelope: path traversal in node id", lambda: result_of(b"../../etc/passwd"), "ear_claims"),
    ("envelope: node id with a line after it", lambda: result_of(HONEST + b"\\n"), "ear_claims"),
    ("envelope: node id that is a key", lambda: result_of(HONEST), ""),
    ("message: node id of invalid UTF-8", lambda: named(b"\xff\xfe"), "malformed"),
    ("message: path traversal in node id", lambda: named("../../etc/passwd"), "malformed"),
]  # fmt: skip


def tpm_bytes(data):
    return refusal("tpm2-quote", data, mint.endorsements(), mint_tpm.maker_roots())
