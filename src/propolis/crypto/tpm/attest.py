"""TPMS_ATTEST and TPMT_SIGNATURE: what a TPM attested, and the check of its signature (Part 2, 10.12 and 11.3)."""

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from propolis.crypto.tpm.ids import MAGIC, Alg, Tag
from propolis.crypto.tpm.kdf import digest_size, hash_of
from propolis.crypto.tpm.marshal import Reader
from propolis.crypto.tpm.public import Public
from propolis.terms.errors import Rejected

MAX_BANKS = 8
MAX_ATTEST = 4096
GOOD_HASHES = (Alg.SHA256, Alg.SHA384, Alg.SHA512)


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """TPMS_CLOCK_INFO and the firmware's version. Milliseconds; `safe` = the clock was saved in good order."""

    clock: int
    resets: int
    restarts: int
    safe: bool
    firmware: int


class Selection(msgspec.Struct, frozen=True):
    """One bank of a PCR selection: which PCRs, in order."""

    bank: int
    pcrs: tuple[int, ...]


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """What all attestations share, and of a quote the selection and digest. `signer` = qualified Name of the key."""

    kind: int
    signer: bytes
    extra: bytes
    clock: Clock
    selections: tuple[Selection, ...] = ()
    digest: bytes = b""
    certified: bytes = b""  # of a certification: the object's Name,
    place: bytes = b""  # and its Qualified Name, which tells its hierarchy


class Signature(msgspec.Struct, frozen=True):
    """A parsed TPMT_SIGNATURE: RSA bytes, or (r, s)."""

    scheme: int
    hash_alg: int
    rsa: bytes = b""
    r: int = 0
    s: int = 0


def parse(data: bytes) -> Attested:
    """Read a TPMS_ATTEST. Raises Rejected: truncated, trailing, oversize, magic, attest_type, pcr_select."""
    if len(data) > MAX_ATTEST:
        raise Rejected("oversize", f"an attestation of {len(data)} bytes")
    reader = Reader(data)
    if reader.u32() != MAGIC:
        raise Rejected("magic", "a TPM did not make this")
    kind = reader.u16()
    signer, extra = reader.sized(68), reader.sized(66)
    clock = Clock(
        clock=reader.u64(),
        resets=reader.u32(),
        restarts=reader.u32(),
        safe=_boolean(reader),
        firmware=reader.u64(),
    )
    selections: tuple[Selection, ...] = ()
    digest = certified = place = b""
    if kind == Tag.ATTEST_QUOTE:
        selections, digest = selections_of(reader), reader.sized(64)
    elif kind == Tag.ATTEST_CERTIFY:
        certified, place = reader.sized(68), reader.sized(68)
    else:
        raise Rejected("attest_type", f"an attestation of type {kind:#06x}")
    reader.end()
    return Attested(
        kind=kind, signer=signer, extra=extra, clock=clock, selections=selections, digest=digest, certified=certified,
        place=place,
    )  # fmt: skip


def _boolean(reader: Reader) -> bool:
    value = reader.u8()
    if value not in (0, 1):
        raise Rejected("mbz", f"{value} where yes or no belongs")
    return value == 1


def selections_of(reader: Reader) -> tuple[Selection, ...]:
    """Read a TPML_PCR_SELECTION: no bank twice. Raises Rejected(pcr_select, oversize)."""
    count = reader.u32()
    if count > MAX_BANKS:
        raise Rejected("oversize", f"{count} PCR banks")
    found: list[Selection] = []
    for _ in range(count):
        bank, size = reader.u16(), reader.u8()
        if size > 4:
            raise Rejected("pcr_select", f"a PCR mask of {size} bytes")
        found.append(Selection(bank, _chosen(int.from_bytes(reader.take(size), "little"))))
    if len({selection.bank for selection in found}) != len(found):
        raise Rejected("pcr_select", "a PCR bank is selected twice")
    return tuple(found)


def _chosen(bits: int) -> tuple[int, ...]:
    """Return the places of the ones, the lowest first."""
    found: list[int] = []
    while bits:
        lowest = bits & -bits
        found.append(lowest.bit_length() - 1)
        bits ^= lowest
    return tuple(found)


def parse_signature(data: bytes) -> Signature:
    """Read a TPMT_SIGNATURE. Raises Rejected: truncated, trailing, oversize, sig_alg."""
    reader = Reader(data)
    scheme, hash_alg = reader.u16(), reader.u16()
    if hash_alg not in GOOD_HASHES:
        raise Rejected("sig_alg", f"a signature over hash {hash_alg:#06x}")
    if scheme in (Alg.RSASSA, Alg.RSAPSS):
        signature = Signature(scheme, hash_alg, rsa=reader.sized(512))
    elif scheme == Alg.ECDSA:
        r, s = reader.sized(66), reader.sized(66)
        signature = Signature(scheme, hash_alg, r=int.from_bytes(r, "big"), s=int.from_bytes(s, "big"))
    else:
        raise Rejected("sig_alg", f"signature scheme {scheme:#06x}")
    reader.end()
    return signature


def verify(key: Public, data: bytes, signature: Signature) -> None:
    """Check a signature. Raises Rejected: sig_key_mismatch, sig_alg, signature."""
    algorithm = hash_of(signature.hash_alg)
    if key.scheme != Alg.NULL and (key.scheme, key.scheme_hash) != (signature.scheme, signature.hash_alg):
        raise Rejected("sig_alg", "not the scheme the key is for")
    try:
        if isinstance(key.key, ec.EllipticCurvePublicKey) and signature.scheme == Alg.ECDSA:
            if not (signature.r and signature.s):
                raise Rejected("signature", "a signature of zero")
            key.key.verify(encode_dss_signature(signature.r, signature.s), data, ec.ECDSA(algorithm))
        elif isinstance(key.key, rsa.RSAPublicKey) and signature.scheme == Alg.RSASSA:
            key.key.verify(signature.rsa, data, padding.PKCS1v15(), algorithm)
        elif isinstance(key.key, rsa.RSAPublicKey) and signature.scheme == Alg.RSAPSS:
            pss = padding.PSS(padding.MGF1(algorithm), digest_size(signature.hash_alg))
            key.key.verify(signature.rsa, data, pss, algorithm)
        else:
            raise Rejected("sig_key_mismatch", "the signature is not of this kind of key")
    except InvalidSignature as error:
        raise Rejected("signature", "the signature does not verify") from error
