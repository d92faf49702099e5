"""Evidence as it is kept in files: raw, hex, base64, or one of the JSON bundles that others write (evidence.md, V1-V6).

Takes the wrapping off and nothing else: what comes out is still unverified. What is not understood is refused by name.
"""

from propolis.decisions.appraisal import jsonic, snp_json
from propolis.decisions.appraisal.bundles import certificates_in
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.errors import Rejected

MAX_EVIDENCE = 4 << 20  # bytes, wrapping included
_NAMES = ("evidence", "quote", "report", "token", "document")
_LOG = "cc_eventlog"
_PRINTED = bytes(range(32, 128)) + b"\t\r\n"
_CERTIFICATES = ("certificates", "cert_chain", "vcek", "vlek")

Unwrapped = tuple[bytes, Endorsements]


def octets(data: bytes, kind: str) -> Unwrapped:
    """Unwrap evidence that is a string of bytes. `kind` = its type without version.

    Raises Rejected: truncated (empty), oversize, envelope_encoding, envelope_json, envelope_field, envelope_type,
    envelope_evidence.
    """
    _bounded(data)
    text = data.strip()
    if not _is_text(text):
        return data, Endorsements()
    if text[:1] in (b"{", b"["):
        return _json(jsonic.read(text), kind)
    return jsonic.spelt(text.decode("ascii"), "the evidence"), Endorsements()


def document(data: bytes, kind: str) -> Unwrapped:
    """Unwrap evidence that is itself a JSON bundle (azcvm), or JSON or CBOR (parsec-tpm). Raises Rejected as `octets`."""
    _bounded(data)
    text = data.strip()
    if text[:1] == b"{" and _is_text(text):
        found = jsonic.members(jsonic.read(text))
        return _json(found, kind) if "evidence" in found else (text, Endorsements())
    unwrapped, endorsements = octets(data, kind)
    return unwrapped.strip() if unwrapped.strip()[:1] == b"{" else unwrapped, endorsements


def _bounded(data: bytes) -> None:
    if len(data) > MAX_EVIDENCE:
        raise Rejected("oversize", f"evidence of {len(data)} bytes, at most {MAX_EVIDENCE} are read")
    if not data.strip():
        raise Rejected("truncated", "there is no evidence")


def _is_text(data: bytes) -> bool:
    return data.isascii() and not data.translate(None, _PRINTED)


def _json(value: jsonic.Json, kind: str) -> Unwrapped:
    if isinstance(value, list):  # a CMW record: media type, bytes, indicator
        if not 2 <= len(value) <= 3 or not isinstance(value[0], str):
            raise Rejected("envelope_field", "a list that is no conceptual message")
        return jsonic.octets(value[1], "the evidence"), Endorsements()
    found = jsonic.members(value)
    stated = found.get("type")
    if stated is not None and (not isinstance(stated, str) or stated.split("/")[0] != kind):
        raise Rejected("envelope_type", f"evidence of another type than {kind}")
    endorsed = _endorsed(found)
    if "attestation_report" in found:
        return snp_json.rebuilt(found["attestation_report"]), endorsed
    return jsonic.octets(jsonic.member(found, *_NAMES), "the evidence"), endorsed


def _endorsed(found: dict[str, jsonic.Json]) -> Endorsements:
    """Take out what a bundle brings along: certificates, collateral as an object or text, a log."""
    endorsed = Endorsements()
    for name in _CERTIFICATES:
        given = found.get(name)
        for each in given if isinstance(given, list) and not _numbers(given) else [given]:
            if each is not None:
                body = each.get("data") if isinstance(each, dict) else each
                endorsed = endorsed.joined(Endorsements(certificates=certificates_in(body, name)))
    collateral = found.get("collateral")
    if isinstance(collateral, str):
        endorsed = endorsed.joined(Endorsements(documents=(collateral.encode("utf-8", "replace"),)))
    elif isinstance(collateral, dict):
        endorsed = endorsed.joined(Endorsements(documents=(jsonic.written(collateral),)))
    log = found.get(_LOG)
    if log:
        endorsed = endorsed.joined(Endorsements(logs=(jsonic.octets(log, _LOG),)))
    return endorsed


def _numbers(values: list[object]) -> bool:
    return all(isinstance(value, int) for value in values)
