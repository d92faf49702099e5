"""Certificate revocation lists (RFC 5280, section 5; evidence.md, R1-R5): complete lists of one issuer, in time and signed."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import msgspec

from propolis.crypto import der, keys, x509
from propolis.crypto.x509 import Certificate
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

MAX_LISTS = 16  # of one issuer, each of which costs a signature
MAX_AHEAD = 86400  # seconds: a list issued within a day after `now` is taken, as whoever verifies may state a day only
_UNDERSTOOD = frozenset({"2.5.29.20", "2.5.29.35"})  # CRL number, authority key; a delta or partial list is neither


class RevocationList(msgspec.Struct, frozen=True, kw_only=True):
    """One list. Serials as the bytes of their INTEGER; times are seconds since 1970."""

    raw: bytes
    tbs: bytes
    issuer: bytes
    since: int
    until: int
    serials: frozenset[bytes]
    algorithm: bytes
    signature: bytes


@lru_cache(maxsize=16)  # a value of a value
def parse(data: bytes) -> RevocationList:
    """Read one list in DER. Raises Rejected: truncated, trailing, oversize, der, sig_algo, crl_critical, crl_expired."""
    parts = der.children(der.one(data))
    if len(parts) != 3:
        raise Rejected("der", "a revocation list has three parts")
    fields = der.children(der.expect(parts[0], der.SEQUENCE))
    if fields and fields[0].tag == der.INTEGER:
        fields.pop(0)
    if len(fields) < 4 or fields[3].tag not in (der.UTC_TIME, der.GENERALIZED_TIME):
        raise Rejected("crl_expired", "a revocation list that does not say until when it holds")
    algorithm, issuer, since, until, *rest = fields
    if algorithm.raw != parts[1].raw:
        raise Rejected("sig_algo", "a revocation list that names two signature algorithms")
    return RevocationList(
        raw=data,
        tbs=parts[0].raw,
        issuer=der.expect(issuer, der.SEQUENCE).raw,
        since=x509.instant(since),
        until=x509.instant(until),
        serials=_serials(rest),
        algorithm=der.expect(algorithm, der.SEQUENCE).raw,
        signature=der.bits(parts[2]),
    )


def _serials(rest: list[der.Element]) -> frozenset[bytes]:
    found: frozenset[bytes] = frozenset()
    for element in rest:
        if element.tag == der.SEQUENCE:
            found = frozenset(_serial(entry) for entry in der.children(element))
        elif element.tag == 0xA0:
            _understood(der.one(element.body))
        else:
            raise Rejected("der", "an unknown part in a revocation list")
    return found


def _serial(entry: der.Element) -> bytes:
    parts = der.children(der.expect(entry, der.SEQUENCE))
    if not 2 <= len(parts) <= 3:
        raise Rejected("der", "a revoked certificate of odd shape")
    if len(parts) == 3:
        _understood(parts[2])  # a critical entry extension may make the entry another issuer's
    return der.expect(parts[0], der.INTEGER).body


def _understood(sequence: der.Element) -> None:
    for name, each in x509.extensions(der.expect(sequence, der.SEQUENCE)).items():
        if each.critical and name not in _UNDERSTOOD:
            raise Rejected("crl_critical", f"a revocation list limited by extension {name}")


def check(found: RevocationList, issuer: Certificate, now: Seconds) -> None:
    """Check that a list is its issuer's and holds. Raises Rejected: crl_issuer, crl_signature, crl_expired, crl_not_yet."""
    if found.issuer != issuer.subject or not issuer.may_sign_lists():
        raise Rejected("crl_issuer", "a revocation list of another issuer")
    try:
        if len(found.tbs) > x509.MAX_CERTIFICATE:  # not to be remembered: lists may be large
            keys.check(issuer.key, found.algorithm, found.tbs, found.signature)
        else:
            keys.check_known(issuer.spki, found.algorithm, found.tbs, found.signature)
    except Rejected as error:
        raise Rejected("crl_signature", str(error)) from error
    if now < found.since - MAX_AHEAD:
        raise Rejected("crl_not_yet", "a revocation list from the future")
    if not now <= found.until:
        raise Rejected("crl_expired", "a revocation list that holds no more")


def revoked(
    path: tuple[Certificate, ...],
    lists: Iterable[RevocationList],
    now: Seconds,
    kept: tuple[RevocationList, ...] = (),
) -> frozenset[bytes]:
    """Look every certificate of a path up in its issuer's lists; return the names of the issuers whose lists were looked at.

    `lists` were brought for this path, `kept` lie with the roots of many. Raises Rejected: revoked; crl_issuer when there
    are lists and none is of this path; for an issuer none of whose lists counts, what `check` raises.
    """
    looked: set[bytes] = set()
    brought = tuple(lists)
    for below, issuer in pairwise(path):
        theirs = [found for found in (*brought, *kept) if found.issuer == issuer.subject]
        good = _that_count(theirs, issuer, now)
        if theirs:
            looked.add(issuer.subject)
        if any(below.serial in found.serials for found in good):
            raise Rejected("revoked", "a certificate that its issuer revoked")
    if brought and not any(found.issuer in looked for found in brought):
        raise Rejected("crl_issuer", "revocation lists, and none of an issuer in this path")
    return frozenset(looked)


def _that_count(theirs: list[RevocationList], issuer: Certificate, now: Seconds) -> list[RevocationList]:
    if len(theirs) > MAX_LISTS:
        raise Rejected("oversize", f"{len(theirs)} revocation lists of one issuer")
    good: list[RevocationList] = []
    why: Rejected | None = None
    for found in theirs:
        try:
            check(found, issuer, now)
            good.append(found)
        except Rejected as error:
            why = why or error
    if why is not None and not good:
        raise why
    return good


def until(path: tuple[Certificate, ...], lists: Iterable[RevocationList], now: Seconds) -> int:
    """Return the second at which the first certificate, or the first list that holds now, of a path ends."""
    names = {each.subject for each in path}
    ends = [each.not_after for each in path] + [
        each.until for each in lists if each.issuer in names and each.until >= now
    ]
    return min(ends)
