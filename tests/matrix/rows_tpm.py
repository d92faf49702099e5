"""Rows on TPM structures, quotes, keys and clocks."""

import base64
import functools

import mint
import mint_tpm
import msgspec
from fuzz.bytewise import sizes
from given import AK, ATTESTER, CLOCK, PCRS, TOLD, VALUES, area, attested, checked, examined, selections

from propolis.crypto import x509
from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest, public
from propolis.crypto.tpm.ids import Alg, Attribute, Handle, Tag
from propolis.crypto.tpm.marshal import sized, u16, u32
from propolis.decisions.appraisal import tpm2_bundle
from propolis.terms.calendar import rfc3339
from propolis.terms.errors import Rejected

SIGNATURE = ATTESTER._signed(attested())
R, S = SIGNATURE[6:38], SIGNATURE[40:72]
RSA = public.ek_rsa()[:-256]
later = functools.partial(msgspec.structs.replace, CLOCK)


def every_prefix(data, parse):
    """Each prefix is refused as truncated; what another one raises, or that one is taken, fails the row."""
    for size in range(len(data)):
        try:
            parse(data[:size])
        except Rejected as error:
            if error.reason != "truncated":
                raise
            continue
        raise Rejected("taken", f"{size} bytes are taken")
    parse(data[:-1])


def ecdsa(r, s, alg=Alg.SHA256, scheme=Alg.ECDSA):
    return u16(scheme) + u16(alg) + sized(r) + sized(s)


def rsa_area(modulus, exponent=0, scheme=Alg.NULL, bits=2048):
    template = public.ek_rsa()
    at = len(template) - 258 - 6
    head = template[: at - 2] + (u16(Alg.NULL) if scheme == Alg.NULL else u16(scheme) + u16(Alg.SHA256))
    return head + u16(bits) + u32(exponent) + sized(modulus)


SOUND = mint.rsa_key("sound").public_key().public_numbers().n.to_bytes(256, "big")


def rsa_key(scheme):
    """An attestation key on RSA."""
    attributes = int.from_bytes(TOLD.ak[4:8], "big")
    body = u16(Alg.RSA) + u16(Alg.SHA256) + u32(attributes) + sized(b"") + u16(Alg.NULL)
    body += u16(Alg.NULL) if scheme == Alg.NULL else u16(scheme) + u16(Alg.SHA256)
    return public.parse(body + u16(2048) + u32(0) + sized(SOUND))


def permuted():
    values = {0: b"a" * 32, 4: b"b" * 32, 7: b"c" * 32}
    return checked(attested(values=values), values={0: b"b" * 32, 4: b"a" * 32, 7: b"c" * 32})


def odd_hex():
    import json

    found = json.loads(tpm2_bundle.written(mint_tpm.evidence()))
    found["pcrs"]["0"] = "abc"
    from given import refusal

    return refusal("tpm2-quote", json.dumps(found).encode(), mint.endorsements(), mint_tpm.maker_roots())


def every_size(value):
    """Every size field of an attestation at this value: oversize or truncated, and the first one is oversize."""
    data = attested()
    for at, width, order in sizes(data):
        if order == "big" and width == 2 and at in (6, 42):
            attest.parse(data[:at] + value.to_bytes(2, "big") + data[at + 2 :])


FIRST = CLOCK
ROWS = [
    ("empty", lambda: attest.parse(b""), "truncated"),
    ("1 byte", lambda: attest.parse(b"\xff"), "truncated"),
    ("truncated at every field: attestation", lambda: every_prefix(attested(), attest.parse), "truncated"),
    ("truncated at every field: signature", lambda: every_prefix(SIGNATURE, attest.parse_signature), "truncated"),
    ("truncated at every field: public area", lambda: every_prefix(TOLD.ak, public.parse), "truncated"),
    ("+1 trailing byte: attestation", lambda: checked(attested() + b"\1"), "trailing"),
    ("+1 trailing byte: signature", lambda: checked(signature=SIGNATURE + b"\1"), "trailing"),
    ("+1 trailing byte: public area", lambda: public.parse(TOLD.ak + b"\1"), "trailing"),
    ("NUL padding: attestation", lambda: checked(attested() + bytes(64)), "trailing"),
    ("NUL padding: signature", lambda: checked(signature=SIGNATURE + bytes(64)), "trailing"),
    ("size field 0xffff", lambda: every_size(0xFFFF), "oversize"),
    ("size field 0xffff: signature", lambda: attest.parse_signature(SIGNATURE[:4] + b"\xff\xff" + SIGNATURE[6:]), "oversize"),
    ("count 0xffffffff", lambda: attest.parse(attested(body=u32(0xFFFFFFFF))), "oversize"),
    ("count 2^31", lambda: attest.parse(attested(body=u32(2**31))), "oversize"),
    ("wrong magic", lambda: checked(attested(magic=0xFF544346)), "magic"),
    ("Certify attest in place of quote", lambda: checked(attested(kind=Tag.ATTEST_CERTIFY, body=sized(AK.name) + sized(AK.name))), "attest_type"),
    ("GetTime attest in place of quote", lambda: checked(attested(kind=Tag.ATTEST_TIME, body=bytes(33))), "attest_type"),
    ("NV attest in place of quote", lambda: checked(attested(kind=Tag.ATTEST_NV, body=sized(AK.name) + u16(0) + sized(b"x"))), "attest_type"),
    ("nonce: stale", lambda: checked(attested(extra=b"o" * 32)), "nonce"),
    ("nonce: reused", lambda: checked(binding=b"the next question's" + bytes(13)), "nonce"),
    ("nonce: base64 of nonce", lambda: checked(attested(extra=base64.b64encode(mint.NONCE))), "nonce"),
    ("nonce: 0-length", lambda: checked(attested(extra=b"")), "nonce"),
    ("nonce: 65 bytes", lambda: checked(attested(extra=mint.NONCE + bytes(33))), "nonce"),
    ("selection: missing PCR", lambda: checked(attested(selection=selections((0x0B, (0, 7))))), "pcr_select"),
    ("selection: extra bank", lambda: checked(attested(selection=selections((0x0B, PCRS), (0x04, PCRS)))), "pcr_select"),
    ("selection: duplicate bank", lambda: checked(attested(selection=selections((0x0B, PCRS), (0x0B, PCRS)))), "pcr_select"),
    ("selection: PCR16-23 only", lambda: checked(attested(selection=selections((0x0B, range(16, 24))))), "pcr_select"),
    ("selection: values permuted", permuted, "pcr_digest"),
    ("PCR value of wrong length", lambda: checked(values={**VALUES, 0: bytes(20)}), "pcr_len"),
    ("PCR value missing", lambda: checked(values={0: bytes(32), 7: bytes(32)}), "pcr_missing"),
    ("PCR value of odd hex", odd_hex, "pcr_len"),
    ("signature: wrong hash", lambda: checked(signature=ecdsa(R, S, Alg.SHA384)), "sig_alg"),
    ("signature: SHA-1", lambda: checked(signature=ecdsa(R, S, Alg.SHA1)), "sig_alg"),
    ("signature: ECDSA r=0", lambda: checked(signature=ecdsa(bytes(32), S)), "signature"),
    ("signature: ECDSA s=0", lambda: checked(signature=ecdsa(R, bytes(32))), "signature"),
    ("signature: ECDSA oversize number", lambda: checked(signature=ecdsa(b"\xff" * 66, S)), "signature"),
    ("signature: ECDSA oversize field", lambda: checked(signature=ecdsa(b"\xff" * 67, S)), "oversize"),
    ("signature: RSA-PSS where PKCS1 belongs", lambda: checked(ak=rsa_key(Alg.RSASSA), signature=u16(Alg.RSAPSS) + u16(Alg.SHA256) + sized(bytes(256))), "sig_alg"),
    ("signature: PKCS1 where RSA-PSS belongs", lambda: checked(ak=rsa_key(Alg.RSAPSS), signature=u16(Alg.RSASSA) + u16(Alg.SHA256) + sized(bytes(256))), "sig_alg"),
    ("signature: RSA sig for ECC key", lambda: checked(signature=u16(Alg.RSASSA) + u16(Alg.SHA256) + sized(bytes(256))), "sig_alg"),
    ("signature: RSA sig for ECC key of no scheme", lambda: attest.verify(msgspec.structs.replace(AK, scheme=int(Alg.NULL)), b"x", attest.parse_signature(u16(Alg.RSASSA) + u16(Alg.SHA256) + sized(bytes(256)))), "sig_key_mismatch"),
    ("point not on curve", lambda: public.parse(TOLD.ak[:-1] + bytes((TOLD.ak[-1] ^ 1,))), "point"),
    ("RSA 1024", lambda: public.parse(rsa_area(SOUND[:128], bits=1024)), "weak_key"),
    ("e=1", lambda: public.parse(rsa_area(SOUND, exponent=1)), "weak_key"),
    ("ROCA modulus", lambda: public.parse(rsa_area(mint_tpm.roca_modulus().to_bytes(256, "big"))), "roca"),
    ("AK unrestricted", lambda: checked(ak=area(TOLD.ak, without=Attribute.RESTRICTED)), "ak_attrs"),
    ("AK decrypt", lambda: checked(ak=area(TOLD.ak, more=Attribute.DECRYPT)), "ak_attrs"),
    ("AK not fixedTPM", lambda: checked(ak=area(TOLD.ak, without=Attribute.FIXED_TPM)), "ak_attrs"),
    ("AK owner hierarchy", lambda: checked(attested(signer=public.qualified(AK, hierarchy=Handle.OWNER))), "ak_hierarchy"),
    ("EK: a key that signs in its place", lambda: examined(ek=TOLD.ak, certificate=b""), "ek_attrs"),
    ("EK: one that may leave its TPM", lambda: examined(ek=area(TOLD.ek, without=Attribute.FIXED_TPM).raw), "ek_attrs"),
    ("clock backwards", lambda: checked(before=later(clock=1001)), "clock_rollback"),
    ("resetCount backwards", lambda: checked(before=later(resets=2)), "clock_rollback"),
    ("restartCount backwards", lambda: checked(before=later(restarts=1)), "clock_rollback"),
    ("resetCount change", lambda: checked(before=later(resets=0)), "reset"),
    ("fw change", lambda: checked(before=later(firmware=1)), "firmware"),
    ("now before notBefore", lambda: examined(now=rfc3339("2025-12-31T23:59:59Z")), "ek_expired"),
    ("now=0", lambda: examined(now=0), "ek_expired"),
    ("NaN time", lambda: examined(now=float("nan")), "ek_expired"),
]  # fmt: skip

# -- endorsement


def endorsed(certificate, *pool, roots=None):
    return examined(certificate=certificate, pool=pool, roots=roots)


def loop():
    """Two authorities that issue each other, and the key's certificate under one of them."""
    a, b = ("a", mint.key("a")), ("b", mint.key("b"))
    pool = (mint.certificate("a", a[1], b), mint.certificate("b", b[1], a))
    return endorsed(under("a", mint.key("a")), *pool)


def under(name, key, **changes):
    own = mint_tpm._Public(public.parse(mint_tpm.evidence().ek).key)
    options = {"authority": False, "purposes": ["2.23.133.8.1"], **changes}
    return mint.certificate("ek", own, (name, key), **options)


def of_another():
    return mint.certificate(
        "ek", mint.key("another"), ("maker", mint.key("maker")), authority=False, purposes=["2.23.133.8.1"]
    )


MAKER = ("maker", mint.key("maker"))
PAST = mint.datetime.datetime(2026, 2, 1, tzinfo=mint.UTC)


def nuvoton():
    """Their names have a SET whose members stand in no order; a certificate with one is read and leads to its root."""

    def swapped(tbs):
        one, other = (
            mint.tlv(0x30, mint.der_oid("2.5.4.3") + mint.tlv(0x0C, b"zz")),
            mint.tlv(0x30, mint.der_oid("2.5.4.10") + mint.tlv(0x0C, b"a")),
        )
        ordered = mint.tlv(0x30, mint.tlv(0x31, mint.tlv(0x30, mint.der_oid("2.5.4.3") + mint.tlv(0x0C, b"ek"))))
        unsorted = mint.tlv(0x30, mint.tlv(0x31, other + one))
        assert tbs.count(ordered) == 1
        from propolis.crypto import der

        body = der.one(tbs).body.replace(ordered, unsorted)
        return mint.tlv(0x30, body)

    return endorsed(mint.resigned(under(*MAKER), swapped, mint.key("maker")))


def zero_serial():
    """As every VCEK's: serial 0."""
    from propolis.crypto import der

    def zeroed(tbs):
        fields = der.children(der.one(tbs))
        return mint.tlv(0x30, b"".join([fields[0].raw, mint.tlv(0x02, b"\0"), *(field.raw for field in fields[2:])]))

    return endorsed(mint.resigned(under(*MAKER), zeroed, mint.key("maker")))


def sha1_root():
    """A root that signed itself by SHA-1: its key is pinned, its signature says nothing."""
    from propolis.crypto import der

    tbs, _, signature = der.children(der.one(mint.certificate(*MAKER)))
    fields, sha1 = der.children(tbs), mint.tlv(0x30, mint.der_oid("1.2.840.10045.4.1"))
    body = mint.tlv(0x30, b"".join([*(each.raw for each in fields[:2]), sha1, *(each.raw for each in fields[3:])]))
    root = mint.tlv(0x30, body + sha1 + signature.raw)
    parsed = x509.parse(root)
    return examined(roots=Roots(pins=frozenset({parsed.pin}), certificates=(parsed,)))


def large():
    return endorsed(under(*MAKER, extensions=[("1.2.3", mint.tlv(0x04, bytes(8000)), False)]))


ROWS += [
    ("EK cert for other EK", lambda: endorsed(of_another()), "ek_key"),
    ("CA cert as EK", lambda: endorsed(under(*MAKER, authority=True)), "ek_usage"),
    ("EK cert: no EKU", lambda: endorsed(under(*MAKER, purposes=[])), "ek_usage"),
    ("EK cert: expired", lambda: endorsed(under(*MAKER, end=PAST)), "ek_expired"),
    ("EK cert: unknown root", lambda: examined(roots=mint.roots(mint.certificate("other", mint.key("other")))), "ek_root"),
    ("EK cert: path loop", loop, "ek_root"),
    ("EK cert: issuer that is no authority", lambda: endorsed(under("no authority", mint.key("na")), mint.certificate("no authority", mint.key("na"), MAKER, authority=False)), "ek_chain"),
    ("Nuvoton unsorted SET must parse", nuvoton, ""),
    ("serial 0 must parse", zero_serial, ""),
    ("SHA-1 root must pin", sha1_root, ""),
    ("8 k cert must parse", large, ""),
]  # fmt: skip
