"""TDX quotes: what a trust domain says of itself, and its appraisal (Intel TDX Module ABI, TDREPORT; evidence.md, TD1-TD5)."""

from propolis.crypto.paths import Roots
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import dcap, dcap_quote, eventlog, standing
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Facts,
    Reference,
    Verified,
    bound,
    expires,
)
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

TECHNOLOGY = "tdx"
_TUD = 0xFF  # attributes 0-7: the TD is under debug, or otherwise untrusted
_SEPT_VE_DISABLE, _MIGRATABLE, _PKS, _KL, _PERFMON = 28, 29, 30, 31, 63
_KNOWN_ATTRIBUTES = _TUD | sum(1 << bit for bit in (27, _SEPT_VE_DISABLE, _MIGRATABLE, _PKS, _KL, 62, _PERFMON))
_RTMRS = 4


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a TD quote. Raises Rejected."""
    proof = dcap.prove(evidence, endorsements, roots, now, tee=dcap_quote.TDX)
    body = proof.quote.body
    if any(body[112:120]):
        raise Rejected("mbz", "attributes of a TDX module that are not zero")
    if int.from_bytes(body[120:128], "little") & ~_KNOWN_ATTRIBUTES:
        raise Rejected("mbz", "reserved attributes of a trust domain")
    report_data = body[520:584]
    fresh = bound(nonce, report_data)
    return Verified(
        technology=TECHNOLOGY,
        identity=proof.identity,
        facts={**proof.facts(), **_facts(body), "log-covers": _replayed(body, endorsements.logs)},
        fresh=fresh,
        until=expires(now, proof.until),
    )


def _rtmrs(body: bytes) -> list[bytes]:
    return [body[328 + 48 * place : 376 + 48 * place] for place in range(_RTMRS)]


def _replayed(body: bytes, logs: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return the registers that a log explains; each log must replay to what was quoted (TD5).

    In a CC event log register 0 is MRTD and RTMRs begin at 1 (TCG-like numbering of UEFI's CC measurement protocol). What the
    firmware never extends (RTMR 3, the system's own) may be missing; 0 to 2 may not. Raises Rejected(log_*, oversize).
    """
    if len(logs) > 1:
        raise Rejected("envelope_evidence", f"{len(logs)} event logs for one trust domain")
    if not logs:
        return ()
    log = eventlog.parse(logs[0])
    named = {event.pcr for event in log.events if event.type != eventlog.NO_ACTION}
    quoted = {place + 1: value for place, value in enumerate(_rtmrs(body))}
    covered = [place for place in range(_RTMRS) if place < _RTMRS - 1 or place + 1 in named or not any(quoted[_RTMRS])]
    eventlog.agrees(log, quoted, Alg.SHA384, [place + 1 for place in covered])
    return tuple(f"rtmr{place}" for place in covered)


def _facts(body: bytes) -> Facts:
    attributes = int.from_bytes(body[120:128], "little")
    service = body[600:648]  # only in TD 1.5: the measurement of service TDs bound to this one
    return {
        "debug": bool(attributes & _TUD),
        "sept-ve-disable": bool(attributes >> _SEPT_VE_DISABLE & 1),
        "migratable": bool(attributes >> _MIGRATABLE & 1),
        "service-td": any(service),
        "attributes": body[120:128].hex(),
        "xfam": body[128:136].hex(),
        "tee-tcb-svn": body[:16].hex(),
        "module": body[16:64].hex(),
        "module-signer": body[64:112].hex(),
        "measurement": body[136:184].hex(),
        "config-id": body[184:232].hex(),
        "owner": body[232:280].hex(),
        "owner-config": body[280:328].hex(),
        **{f"rtmr{place}": value.hex() for place, value in enumerate(_rtmrs(body))},
        "report-data": body[520:584].hex(),
    }


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a trust domain. Raises Rejected: debug, sept_ve, service_td, migratable."""
    facts = verified.facts
    if facts["debug"]:
        raise Rejected("debug", "the host may read this trust domain")
    if not facts["sept-ve-disable"]:
        raise Rejected("sept_ve", "the host may take pages from this trust domain unnoticed (SEPT_VE_DISABLE is off)")
    if facts["service-td"]:
        raise Rejected("service_td", "another trust domain is bound to this one and may act on it")
    if facts["migratable"]:
        raise Rejected("migratable", "this trust domain may be taken elsewhere")
    return standing.concluded(verified, reference, {})
