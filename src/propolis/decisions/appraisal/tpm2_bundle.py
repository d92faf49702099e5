"""TPM 2.0 evidence as a file: one JSON object, bytes in base64 (docs/specs/attestation.md, Kinds of evidence).

    {"type": "tpm2-quote/1", "ak", "attest", "signature", "bank": "sha256", "pcrs": {"0": hex, ...},
     "ek"?, "ek_certificate"?, "event_log"?, "ima_list"?}

`quote` is taken for `attest`, `pcrs` also as {"sha256": {...}}, as other tools write them. Nothing else is looked at.
"""

import base64
import json

import msgspec

from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import jsonic
from propolis.decisions.appraisal.envelope import MAX_EVIDENCE
from propolis.decisions.appraisal.result import Endorsements
from propolis.decisions.appraisal.tpm2 import Evidence
from propolis.terms.errors import Rejected

KIND = "tpm2-quote"
BANKS = {"sha256": Alg.SHA256, "sha384": Alg.SHA384, "sha512": Alg.SHA512}
_OPTIONAL = {"ek": "ek", "ek_certificate": "certificate", "event_log": "event_log", "ima_list": "ima_list"}


def unwrap(data: bytes, kind: str) -> tuple[bytes, Endorsements]:
    """Return the evidence in our own bytes. Raises Rejected: oversize, truncated, envelope_*, pcr_missing, pcr_len."""
    if len(data) > MAX_EVIDENCE:
        raise Rejected("oversize", f"evidence of {len(data)} bytes, at most {MAX_EVIDENCE} are read")
    if not data.strip():
        raise Rejected("truncated", "there is no evidence")
    found = jsonic.members(jsonic.read(data))
    stated = found.get("type", KIND)
    if not isinstance(stated, str) or stated.split("/")[0] != KIND:
        raise Rejected("envelope_type", f"evidence of another type than {KIND}")
    bank, values = _registers(found)
    parts = {ours: jsonic.octets(found[name], name) for name, ours in _OPTIONAL.items() if found.get(name)}
    evidence = Evidence(
        ak=jsonic.octets(jsonic.member(found, "ak"), "ak"),
        attest=jsonic.octets(jsonic.member(found, "attest", "quote"), "attest"),
        signature=jsonic.octets(jsonic.member(found, "signature"), "signature"),
        bank=bank,
        values=values,
        **parts,
    )
    return msgspec.msgpack.encode(evidence), Endorsements()


def _registers(found: dict[str, jsonic.Json]) -> tuple[int, dict[int, bytes]]:
    """Return bank and values. A quote is of one bank: two are refused."""
    given, name = jsonic.members(jsonic.member(found, "pcrs")), found.get("bank", "sha256")
    if len(given) == 1 and next(iter(given)) in BANKS:
        name, inner = next(iter(given.items()))
        given = jsonic.members(inner)
    if not isinstance(name, str) or name not in BANKS:
        raise Rejected("hash_alg", "a bank of registers that is not taken")
    values: dict[int, bytes] = {}
    for number, value in given.items():
        if not number.isascii() or not number.isdigit() or len(number) > 2 or str(int(number)) != number:
            raise Rejected("envelope_field", "a register that is no number")
        values[int(number)] = jsonic.octets(value, f"PCR {number}")
    return BANKS[name], values


def written(evidence: Evidence) -> str:
    """Return the file's text."""
    name = next(name for name, bank in BANKS.items() if bank == evidence.bank)
    found: dict[str, object] = {
        "type": f"{KIND}/1",
        "ak": _base64(evidence.ak),
        "attest": _base64(evidence.attest),
        "signature": _base64(evidence.signature),
        "bank": name,
        "pcrs": {str(pcr): value.hex() for pcr, value in sorted(evidence.values.items())},
    }
    for ours, theirs in ((v, k) for k, v in _OPTIONAL.items()):
        value = getattr(evidence, ours)
        if value:
            found[theirs] = _base64(value)
    return json.dumps(found, indent=1) + "\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
