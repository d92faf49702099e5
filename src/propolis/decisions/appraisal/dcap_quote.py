"""Intel DCAP quotes, versions 3, 4 and 5, taken apart (Intel SGX ECDSA QuoteLibReference, Intel TDX DCAP; evidence.md, Q1-Q5)."""

import msgspec

from propolis.crypto.cursor import Cursor
from propolis.terms.errors import Rejected

MAX_QUOTE = 64 * 1024  # bytes
MAX_SIGNATURE = 32 * 1024
MAX_AUTH = 1024
HEADER, SGX_BODY, TD10_BODY, TD15_BODY = 48, 384, 584, 648
SGX, TDX = 0x00, 0x81
ECDSA_P256 = 2
INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # the vendor of the quoting enclave
CHAIN, NESTED = 5, 6  # types of certification data: a PEM chain; a report with data of its own
_TYPED = {1: (SGX, SGX_BODY), 2: (TDX, TD10_BODY), 3: (TDX, TD15_BODY)}  # body types of version 5


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote taken apart. `signed` is exactly what its key signed, `canon` all that is verified, without padding."""

    version: int
    tee: int
    body: bytes
    signed: bytes
    canon: bytes
    signature: bytes
    key: bytes
    qe_report: bytes
    qe_signature: bytes
    qe_auth: bytes
    chain: bytes


def parse(data: bytes) -> Quote:
    """Read a quote. Raises Rejected: truncated, trailing, oversize, version, sig_algo, tee, qe_vendor, cert_type."""
    if len(data) > MAX_QUOTE:
        raise Rejected("oversize", f"a quote of {len(data)} bytes, at most {MAX_QUOTE} are read")
    cursor = Cursor(data)
    version, key_type, tee = cursor.number(2), cursor.number(2), cursor.number(4)
    if version not in (3, 4, 5):
        raise Rejected("version", f"a quote of version {version}")
    if key_type != ECDSA_P256:
        raise Rejected("sig_algo", f"an attestation key of type {key_type}")
    if tee not in ((SGX,) if version == 3 else (SGX, TDX)):
        raise Rejected("tee", f"a quote of TEE type {tee:#x}")
    cursor.take(4)  # SVNs of quoting and provisioning enclave, or reserved: the certificate and the QE report count
    if cursor.take(16) != INTEL:
        raise Rejected("qe_vendor", "a quoting enclave that is not Intel's")
    cursor.take(20)
    body = cursor.take(_body_size(cursor, version, tee))
    signed = data[: cursor.at]
    inner = Cursor(cursor.sized(4, MAX_SIGNATURE))
    cursor.zeros_to_the_end()
    signature, key = inner.take(64), inner.take(64)
    if version > 3:
        inner = _nested(inner)
    qe_report, qe_signature, qe_auth = inner.take(SGX_BODY), inner.take(64), inner.sized(2, MAX_AUTH)
    kind = inner.number(2)
    if kind != CHAIN:
        raise Rejected("cert_type", f"certification data of type {kind}; only a certificate chain (5) is taken")
    chain = inner.sized(4, MAX_SIGNATURE)
    inner.zeros_to_the_end()
    return Quote(
        version=version,
        tee=tee,
        body=body,
        signed=signed,
        canon=b"".join((signed, signature, key, qe_report, qe_signature, qe_auth)),
        signature=signature,
        key=key,
        qe_report=qe_report,
        qe_signature=qe_signature,
        qe_auth=qe_auth,
        chain=chain,
    )


def _body_size(cursor: Cursor, version: int, tee: int) -> int:
    if version < 5:
        return TD10_BODY if tee == TDX else SGX_BODY
    kind, size = cursor.number(2), cursor.number(4)
    if kind not in _TYPED or _TYPED[kind] != (tee, size):
        raise Rejected("tee" if kind in _TYPED else "version", f"a quote's body of type {kind} and {size} bytes")
    return size


def _nested(outer: Cursor) -> Cursor:
    kind = outer.number(2)
    if kind != NESTED:
        raise Rejected("cert_type", f"certification data of type {kind} where a QE report (6) belongs")
    inner = Cursor(outer.sized(4, MAX_SIGNATURE))
    outer.zeros_to_the_end()
    return inner


class SgxBody(msgspec.Struct, frozen=True, kw_only=True):
    """An enclave's report body: of an enclave, or of the quoting enclave itself."""

    cpu_svn: bytes
    misc: int
    attributes: bytes
    enclave: bytes
    signer: bytes
    product: int
    svn: int
    report_data: bytes

    @property
    def flags(self) -> int:
        """ATTRIBUTES.FLAGS: bit 0 INIT, 1 DEBUG, 2 64-bit, 4 PROVISION_KEY, 5 EINITTOKEN_KEY."""
        return int.from_bytes(self.attributes[:8], "little")


def sgx_body(data: bytes) -> SgxBody:
    """Read a report body of 384 bytes."""
    return SgxBody(
        cpu_svn=data[:16],
        misc=int.from_bytes(data[16:20], "little"),
        attributes=data[48:64],
        enclave=data[64:96],
        signer=data[128:160],
        product=int.from_bytes(data[256:258], "little"),
        svn=int.from_bytes(data[258:260], "little"),
        report_data=data[320:384],
    )
