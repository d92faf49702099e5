"""Which of Intel's collateral counts now for one platform: its signatures, its times, its FMSPC (evidence.md, T1-T4)."""

from functools import lru_cache

import msgspec

from propolis.crypto import crl, keys, paths
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal.collateral import (
    Collateral,
    QeIdentity,
    Signed,
    TcbInfo,
    qe_identity,
    tcb_info,
    unhex,
)
from propolis.terms.calendar import Seconds, rfc3339
from propolis.terms.errors import Rejected

MAX_LEVELS = 256
MAX_SIGNERS, MAX_DOCUMENTS = 8, 64  # each pair costs a signature
MAX_AHEAD = 86400  # seconds: what was issued within a day after `now` is taken; whoever verifies may state a day only
_SIGNING = b"Intel SGX TCB Signing"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Verified collateral for one platform, and until when it holds."""

    tcb: TcbInfo
    qe: QeIdentity
    until: int


def verified(found: Collateral, *, tee: str, fmspc: bytes, pce: bytes, roots: Roots, now: Seconds) -> Judged:
    """Verify signatures and times, choose what is for this platform (T1-T4).

    `tee`: "SGX" or "TDX". Raises Rejected: tcb_signature, tcb_fmspc, tcb_expired, qe_identity, collateral_missing, and
    what chains and lists raise.
    """
    tcb, tcb_end = _first(found, found.tcb_infos, "tcb_signature", roots, now)
    qe, qe_end = _first(found, found.qe_identities, "qe_signature", roots, now)
    infos = [tcb_info(text) for text in tcb]
    matching = [each for each in infos if each.id == tee and each.version == 3]
    if not matching:
        raise Rejected("collateral", f"no TCB info of version 3 for {tee}")
    ours = [each for each in matching if unhex(each.fmspc) == fmspc and unhex(each.pce) == pce]
    if not ours:
        raise Rejected("tcb_fmspc", "TCB info of another platform")
    identities = [qe_identity(text) for text in qe]
    wanted = [each for each in identities if each.id == {"SGX": "QE", "TDX": "TD_QE"}[tee] and each.version == 2]
    if not wanted:
        raise Rejected("qe_identity", f"no identity of the quoting enclave for {tee}")
    info, identity = max(ours, key=_evaluation), max(wanted, key=_evaluation)
    ends = [
        _in_time("tcb_expired", info.since, info.until, now),
        _in_time("qe_expired", identity.since, identity.until, now),
    ]
    if max(len(info.levels), len(identity.levels), len(info.modules)) > MAX_LEVELS:
        raise Rejected("oversize", "more TCB levels than anybody needs")
    return Judged(tcb=info, qe=identity, until=min(*ends, tcb_end, qe_end))


def _first(
    found: Collateral, candidates: tuple[Signed, ...], reason: str, roots: Roots, now: Seconds
) -> tuple[list[bytes], int]:
    """Return the texts whose signature holds, by a signing certificate of Intel's under a pinned root, and the end of that."""
    if not candidates:
        raise Rejected("collateral_missing", "TCB info or the quoting enclave's identity is missing")
    good: dict[bytes, None] = {}
    ends: list[int] = []
    why = Rejected("collateral_missing", "the certificate that signs collateral is missing")
    signers = [each for each in found.certificates if _SIGNING in each.subject]
    if len(signers) > MAX_SIGNERS or len(candidates) > MAX_DOCUMENTS:
        raise Rejected("oversize", "more collateral than one platform needs")
    for signer in signers:
        texts = [each.text for each in candidates if _holds(signer.spki, each.text, each.signature)]
        try:
            if not texts:
                raise Rejected(reason, "collateral whose signature does not verify")
            path = paths.build(signer, found.certificates, roots, now)
            crl.revoked(path, (), now, (*found.lists, *roots.lists))
        except Rejected as error:
            why = error
            continue
        good.update(dict.fromkeys(texts))
        ends.append(crl.until(path, (*found.lists, *roots.lists), now))
    if not good:
        raise why
    return list(good), min(ends)


@lru_cache(maxsize=16)
def _holds(spki: bytes, text: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        keys.check_raw(keys.read(spki), 256, text, r, s)
    except Rejected:
        return False
    return True


def _evaluation(document: TcbInfo | QeIdentity) -> int:
    return document.evaluation


def _in_time(reason: str, since: str, until: str, now: Seconds) -> int:
    try:
        begin, end = rfc3339(since), rfc3339(until)
    except ValueError as error:
        raise Rejected("collateral", "collateral with a time that is none") from error
    if not begin - MAX_AHEAD <= now <= end:
        raise Rejected(reason, "collateral that does not hold at this time")
    return end
