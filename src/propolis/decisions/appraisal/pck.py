"""What an Intel PCK certificate says of a platform (Intel SGX PCK Certificate and CRL Profile, 1.5; evidence.md, Q6)."""

import msgspec

from propolis.crypto import der
from propolis.crypto.x509 import Certificate
from propolis.terms.errors import Rejected

_SGX = "1.2.840.113741.1.13.1"
_PPID, _TCB, _PCE, _FMSPC, _TYPE = (f"{_SGX}.{place}" for place in range(1, 6))
_PCE_SVN = f"{_TCB}.17"
COMPONENTS = 16


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """The platform that a PCK certificate is for. `kind`: 0 standard (client), 1 scalable, 2 scalable with integrity."""

    ppid: bytes
    fmspc: bytes
    pce: bytes
    components: tuple[int, ...]
    pce_svn: int
    kind: int


def read(leaf: Certificate) -> Platform:
    """Read the SGX extension. Raises Rejected: chain (it is missing), der, oversize."""
    found = leaf.extensions.get(_SGX)
    if found is None:
        raise Rejected("chain", "a certificate that is no PCK certificate")
    fields = _fields(der.one(found.value))
    tcb = _fields(_need(fields, _TCB))
    components = tuple(der.integer(_need(tcb, f"{_TCB}.{place}"), most=256) for place in range(1, COMPONENTS + 1))
    return Platform(
        ppid=_bytes(fields, _PPID, 16),
        fmspc=_bytes(fields, _FMSPC, 6),
        pce=_bytes(fields, _PCE, 2),
        components=components,
        pce_svn=der.integer(_need(tcb, _PCE_SVN), most=65536),
        kind=der.integer(_need(fields, _TYPE), most=256),
    )


def _fields(sequence: der.Element) -> dict[str, der.Element]:
    found: dict[str, der.Element] = {}
    for each in der.children(der.expect(sequence, der.SEQUENCE)):
        parts = der.children(der.expect(each, der.SEQUENCE))
        if len(parts) != 2 or der.oid(parts[0]) in found:
            raise Rejected("der", "an SGX extension of odd shape")
        found[der.oid(parts[0])] = parts[1]
    return found


def _need(fields: dict[str, der.Element], name: str) -> der.Element:
    if name not in fields:
        raise Rejected("der", f"an SGX extension without {name}")
    return fields[name]


def _bytes(fields: dict[str, der.Element], name: str, size: int) -> bytes:
    body = der.expect(_need(fields, name), der.OCTET_STRING).body
    if len(body) != size:
        raise Rejected("der", f"{len(body)} bytes in an SGX extension, not {size}")
    return body
