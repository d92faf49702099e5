"""From a leaf to a pinned root: path building (RFC 5280, section 6, as far as hardware vendors need; evidence.md, P1-P7).

A root is trusted by its key (pinned by SubjectPublicKeyInfo), never by its name or by its signature over itself. Bounded in
depth and in signatures checked, so that no heap of certificates makes a verifier work.
"""

from collections.abc import Iterable

import msgspec

from propolis.crypto import keys
from propolis.crypto.crl import RevocationList
from propolis.crypto.x509 import Certificate
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected

MAX_DEPTH = 6  # certificates in a path, leaf and root included
MAX_CHECKS = 64  # signatures checked while one path is searched
_RANK = (
    "root_untrusted",
    "chain",
    "crl_",
    "weak_key",
    "roca",
    "cert_not_yet",
    "cert_expired",
)  # the last one tells most


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """What is trusted: pins of root keys, root certificates that may be missing from evidence, and bare public keys.

    `keys` are SubjectPublicKeyInfo, for technologies without certificates (PSA, CCA, Parsec). `lists` are revocation lists
    that lie with the roots; trusted by signature as any.
    """

    pins: frozenset[str] = frozenset()
    certificates: tuple[Certificate, ...] = ()
    keys: tuple[bytes, ...] = ()
    lists: tuple[RevocationList, ...] = ()


def in_time(certificate: Certificate, now: Seconds) -> None:
    """Raise Rejected(cert_expired, cert_not_yet) unless the certificate holds at `now`; NaN holds never."""
    if now < certificate.not_before:
        raise Rejected("cert_not_yet", "a certificate that does not hold yet")
    if not now <= certificate.not_after:
        raise Rejected("cert_expired", "a certificate that holds no more")


def build(
    leaf: Certificate, pool: Iterable[Certificate], roots: Roots, now: Seconds, *, purpose: str = ""
) -> tuple[Certificate, ...]:
    """Return leaf, intermediates, root. `purpose` = extended key usage that the leaf must have, as OID.

    Raises Rejected: root_untrusted, chain, cert_expired, cert_not_yet, sig_algo, and what the keys raise.
    """
    if purpose and purpose not in leaf.purposes():
        raise Rejected("chain", f"a certificate that is not for {purpose}")
    if not leaf.understood():
        raise Rejected("chain", "a critical extension that nobody here understands")
    in_time(leaf, now)
    search = _Search((*roots.certificates, *pool), roots, now)
    found = search.above((leaf,))
    if found is None:
        raise search.why
    return found


class _Search:
    """One depth-first search; remembers the most telling reason for which it failed."""

    def __init__(self, pool: tuple[Certificate, ...], roots: Roots, now: Seconds) -> None:
        self._pool = tuple({each.raw: each for each in pool}.values())
        self._roots = roots
        self._now = now
        self._checks = 0
        self.why = Rejected("root_untrusted", "no path to a pinned root")

    def above(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        """Return the path continued to a pinned root, or None."""
        if len(path) >= MAX_DEPTH:
            self._note(Rejected("chain", f"a path longer than {MAX_DEPTH} certificates"))
            return None
        below = path[-1]
        for issuer in self._pool:
            if issuer.subject != below.issuer or any(issuer.spki == each.spki for each in path):
                continue
            try:
                self._may_issue(issuer, path)
            except Rejected as error:
                self._note(error)
                continue
            longer = (*path, issuer)
            found = longer if issuer.pin in self._roots.pins else self.above(longer)
            if found is not None:
                return found
        return None

    def _may_issue(self, issuer: Certificate, path: tuple[Certificate, ...]) -> None:
        follow = issuer.authority()
        if follow is None or not issuer.may_sign_certificates() or not issuer.understood():
            raise Rejected("chain", "an issuer that is no certificate authority")
        if len(path) - 1 > follow:
            raise Rejected("chain", "an authority with more below it than it may have")
        in_time(issuer, self._now)
        self._checks += 1
        if self._checks > MAX_CHECKS:
            raise Rejected("chain", "too many certificates of one name")
        try:
            keys.check_known(issuer.spki, path[-1].algorithm, path[-1].tbs, path[-1].signature)
        except Rejected as error:
            raise Rejected(
                "chain" if error.reason == "signature" else error.reason, "not signed by its issuer"
            ) from error

    def _note(self, error: Rejected) -> None:
        if _rank(error) >= _rank(self.why):
            self.why = error


def _rank(error: Rejected) -> int:
    return next((place for place, name in enumerate(_RANK) if error.reason.startswith(name)), 1)
