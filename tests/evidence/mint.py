"""Complete evidence of every technology under makers of our own: what no one publishes, and what machines without samples test.

Keys come from their names and signatures from keys and data (RFC 6979), but for RSA-PSS: what fails once fails again. Nothing
here is secret.
"""

import datetime
import json
import math
import random
from functools import lru_cache
from hashlib import sha256, sha384, sha512

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from propolis.crypto import crl, der
from propolis.crypto import x509 as ours
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.calendar import rfc3339

UTC = datetime.UTC
NOW = rfc3339("2026-06-01T00:00:00Z")
START, END = datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.datetime(2027, 1, 1, tzinfo=UTC)
NONCE = bytes(range(32))


@lru_cache
def key(name, curve=ec.SECP256R1):
    number = int.from_bytes(sha512(f"{curve.name}/{name}".encode()).digest(), "big")
    return ec.derive_private_key(number % 2 ** (curve.key_size - 1) + 1, curve())


@lru_cache
def rsa_key(name, bits=2048):
    dice = random.Random(f"{bits}/{name}")
    while True:
        p, q = prime(dice, bits // 2), prime(dice, bits // 2)
        if math.gcd(65537, (p - 1) * (q - 1)) == 1 and (p * q).bit_length() == bits:
            break
    d = pow(65537, -1, (p - 1) * (q - 1))
    more = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    return rsa.RSAPrivateNumbers(p, q, d, *more, rsa.RSAPublicNumbers(65537, p * q)).private_key()


def prime(dice, bits):
    """A prime with its two highest bits set, by small divisors and Fermat to four bases: good enough to sign tests with."""
    while True:
        found = dice.getrandbits(bits) | 3 << bits - 2 | 1
        if math.gcd(found, _SMALL) == 1 and all(pow(base, found - 1, found) == 1 for base in (2, 3, 5, 7)):
            return found


_SMALL = math.prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2)))


def digest(own, *, pss=False):
    """The hash a key's size goes with."""
    return hashes.SHA256() if not pss and getattr(own, "curve", ec.SECP256R1()).name == "secp256r1" else hashes.SHA384()


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject,
    own,
    issuer=None,
    *,
    authority=True,
    length=None,
    start=START,
    end=END,
    serial=None,
    extensions=(),
    usage=None,
    purposes=(),
    algorithm=None,
    pss=False,
):
    """Return DER. `issuer` = (name, key), None for one that signs itself; `extensions` = (oid, DER, critical)."""
    issuer_name, issuer_key = issuer or (subject, own)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject if isinstance(subject, x509.Name) else named(subject))
        .issuer_name(issuer_name if isinstance(issuer_name, x509.Name) else named(issuer_name))
        .public_key(own.public_key())
        .serial_number(
            serial or int.from_bytes(sha256(repr((subject, issuer_name, spki(own))).encode()).digest()[:19], "big") | 1
        )
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(authority, length if authority else None), critical=True)
    )
    for oid, value, critical in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical)
    if usage is not None:
        fields = [
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ]
        builder = builder.add_extension(x509.KeyUsage(**{name: name in usage for name in fields}), critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(p) for p in purposes]), False)
    options = {"rsa_padding": padding.PSS(padding.MGF1(hashes.SHA384()), 48)} if pss else {}
    if isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        options["ecdsa_deterministic"] = True
    return builder.sign(issuer_key, algorithm or digest(issuer_key, pss=pss), **options).public_bytes(Encoding.DER)


def revocations(issuer, issuer_key, serials=(), *, start=START, end=END):
    """Return a list in DER. `serials` as numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer if isinstance(issuer, x509.Name) else named(issuer))
        .last_update(start)
        .next_update(end)
    )
    builder = builder.add_extension(x509.CRLNumber(1), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
    )
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        )
    return builder.sign(issuer_key, digest(issuer_key), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def resigned(data, change, issuer_key):
    """Return a certificate whose signed part was changed as bytes, and signed again by its issuer (ECDSA)."""
    tbs, algorithm, _ = der.children(der.one(data))
    body = change(tbs.raw)
    signature = issuer_key.sign(body, ec.ECDSA(digest(issuer_key), deterministic_signing=True))
    return tlv(0x30, body + algorithm.raw + tlv(0x03, b"\0" + signature))


def roots(*certificates, keys=(), lists=()):
    found = tuple(ours.parse(each) for each in certificates)
    return Roots(
        pins=frozenset(each.pin for each in found),
        certificates=found,
        keys=tuple(spki(each) for each in keys),
        lists=tuple(map(crl.parse, lists)),
    )


def endorsements(*certificates, lists=(), documents=()):
    return Endorsements(
        certificates=tuple(map(ours.parse, certificates)),
        lists=tuple(map(crl.parse, lists)),
        documents=tuple(documents),
    )


def spki(own):
    return own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def point(own):
    return own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def raw_signature(own, data, algorithm, size, order="big"):
    r, s = decode_dss_signature(own.sign(data, ec.ECDSA(algorithm, deterministic_signing=True)))
    return r.to_bytes(size, order) + s.to_bytes(size, order)


# -- DER and CBOR, written


def tlv(tag, body):
    size = len(body)
    if size < 128:
        return bytes((tag, size)) + body
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + body


def der_number(value, tag=0x02):
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def der_oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytearray()
    for arc in (40 * first + second, *rest):
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.append(arc & 0x7F | 0x80)
        out += bytes(reversed(digits))
    return tlv(0x06, bytes(out))


class Tagged(tuple):
    """(number, value)."""


def cbor(value):
    def head(major, number):
        for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if number < 24:
                return bytes((major << 5 | number,))
            if number < 1 << 8 * size:
                return bytes((major << 5 | info,)) + number.to_bytes(size, "big")
        raise ValueError(number)

    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case Tagged():
            return head(6, value[0]) + cbor(value[1])
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    raise TypeError(value)


def sign1(own, payload, *, alg=-7, headers=None, unprotected=None, tag=18):
    protected = cbor({1: alg} if headers is None else headers)
    data = cbor(["Signature1", protected, b"", payload])
    kind = {-7: hashes.SHA256(), -35: hashes.SHA384()}.get(alg, hashes.SHA256())
    size = own.curve.key_size // 8
    found = [protected, unprotected or {}, payload, raw_signature(own, data, kind, size)]
    return cbor(Tagged((tag, found)) if tag else found)


# -- SEV-SNP

AMD = "1.3.6.1.4.1.3704.1."
CHIP = bytes(range(1, 65))
CPUID = {"Milan": (0x19, 0x01), "Genoa": (0x19, 0x11), "Turin": (0x1A, 0x02)}
SPL = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
PLACES = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
TCB = {"fmc": 1, "bootloader": 10, "tee": 1, "snp": 23, "microcode": 84}


def tcb_bytes(product, **changes):
    out = bytearray(8)
    for name, at in (TURIN if product == "Turin" else PLACES).items():
        out[at] = {**TCB, **changes}[name]
    return bytes(out)


@lru_cache
def snp_makers():
    ark, ask = key("ark", ec.SECP384R1), key("ask", ec.SECP384R1)
    return certificate("ARK-Test", ark), certificate("SEV-Test", ask, ("ARK-Test", ark), serial=77)


@lru_cache
def snp_leaf(kind="vcek", product="Genoa", chip=CHIP, wrapped=True, end=END, snp=23):
    spl = {**TCB, "snp": snp}
    names = TURIN if product == "Turin" else PLACES
    fields = [(f"{AMD}1", der_number(1), False), (f"{AMD}2", tlv(0x16, f"{product}-B0".encode()), False)]
    fields += [(AMD + SPL[name], der_number(spl[name]), False) for name in names]
    if kind == "vcek":
        fields.append((f"{AMD}4", tlv(0x04, chip) if wrapped else chip, False))
    else:
        fields.append((f"{AMD}5", tlv(0x16, b"cloud"), False))
    return certificate(
        f"SEV-{kind}",
        key("chip", ec.SECP384R1),
        ("SEV-Test", key("ask", ec.SECP384R1)),
        authority=False,
        extensions=fields,
        end=end,
    )


def snp_report(*, version=3, product="Genoa", kind="vcek", data=NONCE, edits=(), signer="chip", after=(), **fields):
    """Return a report of 1184 bytes. `edits` (offset, bytes) before it is signed, `after` once it is."""
    out = bytearray(1184)

    def put(at, value):
        out[at : at + len(value)] = value

    put(0, version.to_bytes(4, "little"))
    put(8, fields.get("policy", 0x30000).to_bytes(8, "little"))
    put(0x30, fields.get("vmpl", 0).to_bytes(4, "little"))
    put(0x34, (1).to_bytes(4, "little"))
    put(0x40, fields.get("platform", 0x20).to_bytes(8, "little"))
    put(0x48, ({"vcek": 0, "vlek": 1}[kind] << 2).to_bytes(4, "little"))
    put(0x50, data.ljust(64, b"\0"))
    put(0x90, fields.get("measurement", b"m" * 48))
    for at in (0x38, 0x180, 0x1E0, 0x1F0):
        put(at, tcb_bytes(product))
    if version > 2:
        put(0x188, bytes((*CPUID[product], 1)))
    put(0x1A0, fields.get("chip", CHIP).ljust(64, b"\0"))
    for at, value in edits:
        put(at, value)
    signature = raw_signature(key(signer, ec.SECP384R1), bytes(out[:0x2A0]), hashes.SHA384(), 72, "little")
    put(0x2A0, signature)
    for at, value in after:
        put(at, value)
    return bytes(out)


def snp(kind="vcek", product="Genoa", lists=()):
    """Return endorsements and roots."""
    ark, ask = snp_makers()
    return endorsements(snp_leaf(kind, product), ask, lists=lists), roots(ark)


# -- Intel DCAP

SGX_OID = "1.2.840.113741.1.13.1"
FMSPC, PCE, PPID = bytes.fromhex("00906ed50000"), b"\0\0", bytes(range(16))
QE_SIGNER = bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff")
TDQE_SIGNER = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")


def _pair(place, value):
    return tlv(0x30, der_oid(f"{SGX_OID}.{place}") + value)


@lru_cache
def pck(svn=5, pce=13, serial=99, end=END):
    tcb = b"".join(_pair(f"2.{n}", der_number(svn)) for n in range(1, 17)) + _pair("2.17", der_number(pce))
    tcb += _pair("2.18", tlv(0x04, bytes([svn]) * 16))
    fields = _pair("1", tlv(0x04, PPID)) + _pair("2", tlv(0x30, tcb)) + _pair("3", tlv(0x04, PCE))
    fields += _pair("4", tlv(0x04, FMSPC)) + _pair("5", der_number(1, 0x0A))
    issuer = ("Intel SGX PCK Platform CA", key("platform"))
    return certificate(
        "Intel SGX PCK Certificate",
        key("pck"),
        issuer,
        authority=False,
        serial=serial,
        end=end,
        extensions=[(SGX_OID, tlv(0x30, fields), False)],
    )


@lru_cache
def intel():
    """Return root, platform CA and the signer of collateral."""
    root = ("Intel SGX Root CA", key("intel"))
    return (
        certificate(*root),
        certificate("Intel SGX PCK Platform CA", key("platform"), root, length=0, serial=55),
        certificate("Intel SGX TCB Signing", key("tcb"), root, authority=False, serial=56),
    )


def pem(*certificates):
    return "".join(x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM).decode() for each in certificates)


def sgx_body(*, attributes=0x5, signer=b"s" * 32, product=0, svn=1, data=NONCE, misc=0, enclave=b"e" * 32):
    out = bytearray(384)
    out[16:20] = misc.to_bytes(4, "little")
    out[48:56] = attributes.to_bytes(8, "little")
    out[56:64] = (3).to_bytes(8, "little")
    out[64:96], out[128:160] = enclave, signer
    out[256:258], out[258:260] = product.to_bytes(2, "little"), svn.to_bytes(2, "little")
    out[320:384] = data.ljust(64, b"\0")
    return bytes(out)


def td_body(
    *,
    attributes=1 << 28,
    svn=b"\x05\x01",
    data=NONCE,
    size=584,
    service=bytes(48),
    svn2=b"\x05\x01",
    seam=bytes(8),
    rtmrs=(bytes(48),) * 4,
    seam_signer=bytes(48),
):
    out = bytearray(size)
    out[0:16] = svn.ljust(2, b"\0") + bytes([3]) * 14
    out[64:112] = seam_signer
    out[112:120] = seam
    out[120:128] = attributes.to_bytes(8, "little")
    out[136:184] = b"t" * 48
    out[520:584] = data.ljust(64, b"\0")
    out[328:520] = b"".join(rtmrs)
    if size == 648:
        out[584:600] = svn2 + bytes([3]) * 14
        out[600:648] = service
    return bytes(out)


def ccel(*events, header=b"Spec ID Event03\0"):
    """A CC event log of (register, SHA-384 digest), padded as firmware's tables are."""
    spec = header + bytes(4) + b"\0\2\0\2" + (1).to_bytes(4, "little") + b"\x0c\0" + b"\x30\0" + b"\0"
    out = (0).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes(20) + len(spec).to_bytes(4, "little") + spec
    for register, digest in events:
        out += register.to_bytes(4, "little") + (13).to_bytes(4, "little") + (1).to_bytes(4, "little")
        out += b"\x0c\0" + digest + (2).to_bytes(4, "little") + b"ev"
    return out + b"\xff" * 64


def extended(*digests):
    value = bytes(48)
    for each in digests:
        value = sha384(value + each).digest()
    return value


def quote(
    version,
    body,
    *,
    tee=0,
    qe=None,
    auth=bytes(range(32)),
    chain=None,
    key_type=2,
    vendor=None,
    cert_type=5,
    tail=b"",
    nested=6,
    qe_key="pck",
):
    out = version.to_bytes(2, "little") + key_type.to_bytes(2, "little") + tee.to_bytes(4, "little") + bytes(4)
    out += (vendor or bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")) + bytes(20)
    if version == 5:
        kind = 1 if tee == 0 else {584: 2, 648: 3}[len(body)]
        out += kind.to_bytes(2, "little") + len(body).to_bytes(4, "little")
    out += body
    own = key("attestation")
    signature = raw_signature(own, out, hashes.SHA256(), 32)
    public = point(own)[1:]
    wanted = {"signer": TDQE_SIGNER, "product": 2} if tee else {"signer": QE_SIGNER, "product": 1}
    report = sgx_body(**{"attributes": 0x11, "svn": 4, "data": sha256(public + auth).digest(), **wanted, **(qe or {})})
    root, platform, _ = intel()
    chain = pem(pck(), platform, root).encode() if chain is None else chain
    inner = report + raw_signature(key(qe_key), report, hashes.SHA256(), 32) + len(auth).to_bytes(2, "little") + auth
    inner += cert_type.to_bytes(2, "little") + len(chain).to_bytes(4, "little") + chain
    if version > 3:
        inner = nested.to_bytes(2, "little") + len(inner).to_bytes(4, "little") + inner
    data = signature + public + inner
    return out + len(data).to_bytes(4, "little") + data + tail


def tcb_level(status, svn=5, pce=13, tdx=3, **more):
    tcb = {"sgxtcbcomponents": [{"svn": svn}] * 16, "pcesvn": pce, "tdxtcbcomponents": [{"svn": tdx}] * 16}
    return {"tcb": tcb, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, **more}


def collateral(tee="SGX", *, levels=None, qe_levels=None, lists=None, tcb=None, qe=None, sign="tcb", spoil=None):
    """Return a bundle in JSON bytes. `tcb` and `qe` change fields of the two documents."""
    zeros = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    info = {
        "id": tee,
        "version": 3,
        "issueDate": "2026-05-31T00:00:00Z",
        "nextUpdate": "2026-07-01T00:00:00Z",
        "fmspc": FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 20,
        "tdxModule": zeros,
        "tdxModuleIdentities": [
            {
                "id": "TDX_01",
                **zeros,
                "tcbLevels": [
                    {"tcb": {"isvsvn": 4}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
                    {"tcb": {"isvsvn": 2}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "OutOfDate"},
                ],
            }
        ],
        "tcbLevels": levels or [tcb_level("UpToDate"), tcb_level("OutOfDate", 1, 1, 1, advisoryIDs=["INTEL-SA-00001"])],
        **(tcb or {}),
    }
    signer, product = (TDQE_SIGNER, 2) if tee == "TDX" else (QE_SIGNER, 1)
    identity = {
        "id": "TD_QE" if tee == "TDX" else "QE",
        "version": 2,
        "issueDate": "2026-05-31T00:00:00Z",
        "nextUpdate": "2026-07-01T00:00:00Z",
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": signer.hex().upper(),
        "isvprodid": product,
        "tcbEvaluationDataNumber": 20,
        "tcbLevels": qe_levels
        or [
            {"tcb": {"isvsvn": 4}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 1}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "OutOfDate"},
        ],
        **(qe or {}),
    }
    root, platform, signing = intel()
    texts = [json.dumps(each, separators=(",", ":")) for each in (info, identity)]
    signatures = [raw_signature(key(sign), text.encode(), hashes.SHA256(), 32).hex() for text in texts]
    root_list, pck_list = lists or intel_lists()
    bundle = {
        "pck_crl_issuer_chain": pem(platform, root),
        "root_ca_crl": root_list.hex(),
        "pck_crl": pck_list.hex(),
        "tcb_info_issuer_chain": pem(signing, root),
        "tcb_info": texts[0],
        "tcb_info_signature": signatures[0],
        "qe_identity_issuer_chain": pem(signing, root),
        "qe_identity": texts[1],
        "qe_identity_signature": signatures[1],
        **(spoil or {}),
    }
    return json.dumps(bundle).encode()


def intel_lists(root_serials=(), pck_serials=(), end=END, pck_issuer=("Intel SGX PCK Platform CA", "platform")):
    return (
        revocations("Intel SGX Root CA", key("intel"), root_serials, end=end),
        revocations(pck_issuer[0], key(pck_issuer[1]), pck_serials, end=end),
    )


def intel_roots():
    return roots(intel()[0])


# -- tokens


def psa_claims(**changes):
    own = key("iak")
    component = {1: "BL", 2: b"m" * 32, 4: "1.0", 5: b"s" * 32}
    claims = {
        265: "http://arm.com/psa/2.0.0",
        10: NONCE,
        256: b"\x01" + sha256(point(own)).digest(),
        2396: b"i" * 32,
        2394: 1,
        2395: 0x3000,
        2399: [component],
        2397: b"b" * 32,
    }
    claims.update({int(name[1:]): value for name, value in changes.items()})
    return {name: value for name, value in claims.items() if value is not ...}


def psa(**changes):
    return sign1(key("iak"), cbor(psa_claims(**changes)))


def cca(*, platform=None, realm=None, challenge=None, rak_signer="rak", tag=399, cose_key=False, profile=None):
    rak = key("rak", ec.SECP384R1)
    rak_claim = point(rak)
    if cose_key:
        rak_claim = cbor({1: 2, -1: 2, -2: rak_claim[1:49], -3: rak_claim[49:]})
    realm_claims = {
        10: NONCE.ljust(64, b"\0"),
        44235: bytes(64),
        44236: "sha-256",
        44237: rak_claim,
        44238: b"r" * 32,
        44239: [bytes(32)] * 4,
        44240: "sha-256",
        **(realm or {}),
    }
    platform_claims = {
        265: "http://arm.com/CCA-SSD/1.0.0",
        10: sha256(rak_claim).digest() if challenge is None else challenge,
        256: b"\x01" + b"i" * 32,
        2395: 0x3003,
        2396: b"i" * 32,
        2399: [{1: "BL", 2: b"m" * 32, 4: "1.0", 5: b"s" * 32}],
        2401: b"\xcf" * 4,
        2402: "sha-256",
        **(platform or {}),
    }
    tokens = {
        44234: sign1(
            key("cpak", ec.SECP384R1), cbor({k: v for k, v in platform_claims.items() if v is not ...}), alg=-35
        ),
        44241: sign1(
            key(rak_signer, ec.SECP384R1), cbor({k: v for k, v in realm_claims.items() if v is not ...}), alg=-35
        ),
    }
    return cbor(Tagged((tag, {name: [263, token] if tag == 907 else token for name, token in tokens.items()})))


@lru_cache
def aws():
    root = ("aws.nitro-enclaves", key("aws", ec.SECP384R1))
    return (
        certificate(*root),
        certificate("zonal", key("zonal", ec.SECP384R1), root),
        certificate("enclave", key("enclave", ec.SECP384R1), ("zonal", key("zonal", ec.SECP384R1)), authority=False),
    )


def nitro(*, signer="enclave", alg=-35, tag=None, **changes):
    root, zonal, leaf = aws()
    document = {
        "module_id": "i-0123-enc0123",
        "digest": "SHA384",
        "timestamp": 1780000000000,
        "pcrs": {0: b"p" * 48, 1: b"q" * 48, 2: b"r" * 48},
        "certificate": leaf,
        "cabundle": [root, zonal],
        "public_key": None,
        "user_data": b"user",
        "nonce": NONCE,
        **changes,
    }
    return sign1(key(signer, ec.SECP384R1), cbor({k: v for k, v in document.items() if v is not ...}), alg=alg, tag=tag)


# -- TPM structures


def sized(data):
    return len(data).to_bytes(2, "big") + data


def attested(kind, extra, body, magic=0xFF544347, signer=b"q" * 32):
    clock = (5).to_bytes(8, "big") + (2).to_bytes(4, "big") + (0).to_bytes(4, "big") + b"\x01" + bytes(8)
    return magic.to_bytes(4, "big") + kind.to_bytes(2, "big") + sized(b"\0\x0b" + signer) + sized(extra) + clock + body


def tpm_quote(extra, pcrs, chosen=range(24), bank=0x0B):
    mask = sum(1 << place for place in chosen).to_bytes(3, "little")
    selection = (1).to_bytes(4, "big") + bank.to_bytes(2, "big") + b"\x03" + mask
    digest = sha256(b"".join(pcrs[place] for place in chosen)).digest()
    return attested(0x8018, extra, selection + sized(digest))


def url(data):
    import base64

    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def hcl_report(hardware, runtime, kind=2, hash_type=1, pad=2600):
    head = b"HCLA" + (1).to_bytes(4, "little") + bytes(24)
    out = head + hardware.ljust(1184, b"\0") + (20 + len(runtime)).to_bytes(4, "little") + (1).to_bytes(4, "little")
    out += kind.to_bytes(4, "little") + hash_type.to_bytes(4, "little") + len(runtime).to_bytes(4, "little") + runtime
    return out.ljust(pad, b"\0")


def runtime_data(name="HCLAkPub", own=None):
    numbers = (own or rsa_key("vtpm")).public_key().public_numbers()
    jwk = {"kid": name, "kty": "RSA", "e": "AQAB", "n": url(numbers.n.to_bytes(256, "big"))}
    return json.dumps(
        {"keys": [jwk], "vm-configuration": {"secure-boot": True, "vmUniqueId": "vm"}, "user-data": "00"}
    ).encode()


def azure(
    *,
    runtime=None,
    binding=None,
    extra=NONCE,
    pcrs=None,
    told=None,
    signer="vtpm",
    tdx=False,
    chosen=range(24),
    **report,
):
    runtime = runtime_data() if runtime is None else runtime
    binding = sha256(runtime).digest() if binding is None else binding
    pcrs = [bytes([place]) * 32 for place in range(24)] if pcrs is None else pcrs
    message = tpm_quote(extra, pcrs, chosen)
    bundle = {
        "version": 1,
        "tpm_quote": {
            "message": message.hex(),
            "signature": rsa_key(signer).sign(message, padding.PKCS1v15(), hashes.SHA256()).hex(),
            "pcrs": [value.hex() for value in (pcrs if told is None else told)],
        },
    }
    if tdx:
        bundle["hcl_report"] = url(hcl_report(bytes(1024), runtime, 4))
        bundle["td_quote"] = url(quote(4, td_body(data=binding), tee=0x81))
    else:
        bundle["hcl_report"] = url(hcl_report(snp_report(data=binding, **report), runtime))
        bundle["vcek"] = url(snp_leaf())
    return json.dumps(bundle).encode()


def tpm_signature(own, data):
    r, s = decode_dss_signature(own.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return b"\0\x18\0\x0b" + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def public_area(own, attributes=0x00040072):
    numbers = own.public_key().public_numbers()
    body = b"\0\x23\0\x0b" + attributes.to_bytes(4, "big") + sized(b"") + b"\0\x10\0\x18\0\x0b\0\x03\0\x10"
    return body + sized(numbers.x.to_bytes(32, "big")) + sized(numbers.y.to_bytes(32, "big"))


def parsec(
    *,
    extra=NONCE,
    other=None,
    name=None,
    signer="ak",
    area=None,
    as_json=False,
    kid=b"\x01" + b"k" * 32,
    pat_kid=None,
    certifier=b"q" * 32,
    drop=(),
):
    import base64

    area = public_area(key("app")) if area is None else area
    name = b"\0\x0b" + sha256(area).digest() if name is None else name
    certify = attested(0x8017, extra, sized(name) + sized(b"\0\x0b" + b"n" * 32), signer=certifier)
    pat = tpm_quote(extra if other is None else other, [bytes(32)] * 24)
    tokens = {
        "kat": {
            "tpmVer": "2.0",
            "kid": kid,
            "sig": tpm_signature(key(signer), certify),
            "pubArea": area,
            "certInfo": certify,
        },
        "pat": {"tpmVer": "2.0", "kid": pat_kid or kid, "sig": tpm_signature(key(signer), pat), "attestInfo": pat},
    }
    tokens = {n: {f: v for f, v in token.items() if (n, f) not in drop} for n, token in tokens.items() if n not in drop}
    if as_json:
        text = {
            n: {f: base64.b64encode(v).decode() if isinstance(v, bytes) else v for f, v in t.items()}
            for n, t in tokens.items()
        }
        return json.dumps(text).encode()
    return cbor(tokens)
