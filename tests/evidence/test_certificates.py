"""Certificates as hardware makers issue them, and paths as attackers build them (evidence.md, D, K, X, P and R)."""

import datetime

import mint
import mint_tpm
import pytest
from cryptography import x509 as theirs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from propolis.crypto import crl, der, keys, paths, x509
from propolis.crypto.paths import Roots
from propolis.crypto.tpm import public
from propolis.decisions.appraisal import endorsement
from propolis.terms.errors import Rejected

NOW = mint.NOW
P384 = ec.SECP384R1
PAST = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)


def own(name):
    return mint.key(name, P384)


def refused(reason, call, *words, **options):
    with pytest.raises(Rejected) as caught:
        call(*words, **options)
    assert caught.value.reason == reason, caught.value


def chain(depth, **options):
    """Return `depth` certificates, leaf first; the last one signs itself."""
    names = [f"c{place}" for place in range(depth)]
    found = [mint.certificate(names[-1], own(names[-1]), **options)]
    for name, above in zip(names[-2::-1], names[:0:-1], strict=True):
        found.insert(0, mint.certificate(name, own(name), (above, own(above)), authority=name != "c0", **options))
    return [x509.parse(each) for each in found]


def pinned(*certificates):
    return Roots(pins=frozenset(each.pin for each in certificates))


def test_a_path_is_found_in_whatever_order_and_ends_at_a_pinned_key():
    leaf, *pool = chain(4)
    path = paths.build(leaf, reversed(pool), pinned(pool[-1]), NOW)
    assert path == (leaf, *pool)
    assert paths.build(leaf, pool, pinned(pool[0]), NOW) == (leaf, pool[0]), "an authority may be pinned itself"


def test_a_pinned_root_need_not_be_in_the_evidence():
    leaf, *pool, root = chain(3)
    refused("root_untrusted", paths.build, leaf, pool, pinned(root), NOW)
    assert paths.build(leaf, pool, Roots(pins=pinned(root).pins, certificates=(root,)), NOW)[-1] == root


def test_a_path_is_six_certificates_at_most():
    leaf, *pool = chain(6)
    assert len(paths.build(leaf, pool, pinned(pool[-1]), NOW)) == 6
    leaf, *pool = chain(7)
    refused("chain", paths.build, leaf, pool, pinned(pool[-1]), NOW)


def test_a_loop_of_authorities_is_no_path():
    a = x509.parse(mint.certificate("a", own("a"), ("b", own("b"))))
    b = x509.parse(mint.certificate("b", own("b"), ("a", own("a"))))
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("a", own("a")), authority=False))
    refused("root_untrusted", paths.build, leaf, [a, b], Roots(), NOW)


def test_many_authorities_of_one_name_do_not_make_a_verifier_work():
    crowd = [x509.parse(mint.certificate("root", own(f"crowd{place}"))) for place in range(70)]
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("root", own("real")), authority=False))
    refused("chain", paths.build, leaf, crowd, pinned(*crowd), NOW)


def test_a_root_is_its_key_not_its_name():
    leaf, middle, root = chain(3)
    forged = x509.parse(mint.certificate("c2", own("forger")))
    refused("chain", paths.build, leaf, [middle, forged], pinned(forged), NOW)
    refused("root_untrusted", paths.build, leaf, [middle, root], pinned(forged), NOW)


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        ("chain", {"authority": False}),
        ("chain", {"usage": ["digital_signature"]}),
        ("chain", {"extensions": [("1.2.3.4", b"\5\0", True)]}),
        ("chain", {"extensions": [("2.5.29.30", b"\x30\0", True)]}),
        ("cert_expired", {"end": PAST}),
        ("cert_not_yet", {"start": datetime.datetime(2026, 6, 2, tzinfo=datetime.UTC)}),
        ("", {"usage": ["key_cert_sign"]}),
        ("", {"extensions": [("1.2.3.4", b"\5\0", False)]}),
    ],
)
def test_who_may_issue(reason, options):
    root = mint.certificate("root", own("root"))
    middle = mint.certificate("middle", own("middle"), ("root", own("root")), **options)
    leaf = mint.certificate("leaf", own("leaf"), ("middle", own("middle")), authority=False)
    words = x509.parse(leaf), [x509.parse(middle), x509.parse(root)], pinned(x509.parse(root)), NOW
    if reason:
        refused(reason, paths.build, *words)
    else:
        assert len(paths.build(*words)) == 3


def test_an_authority_has_no_more_below_it_than_it_says():
    root = x509.parse(mint.certificate("root", own("root"), length=0))
    middle = x509.parse(mint.certificate("middle", own("middle"), ("root", own("root"))))
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("middle", own("middle")), authority=False))
    refused("chain", paths.build, leaf, [middle, root], pinned(root), NOW)
    assert paths.build(middle, [root], pinned(root), NOW)


def test_a_renewed_authority_counts_and_its_expired_one_is_told_only_where_nothing_else_is():
    root = x509.parse(mint.certificate("root", own("root")))
    old = x509.parse(mint.certificate("root", own("root"), end=PAST))
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("root", own("root")), authority=False))
    assert paths.build(leaf, [old, root], pinned(root), NOW)[-1] == root
    refused("cert_expired", paths.build, leaf, [old], pinned(root), NOW)


def test_a_purpose_that_is_asked_for_must_be_there():
    root = x509.parse(mint.certificate("root", own("root")))
    options = {"authority": False, "purposes": ["2.23.133.8.1"]}
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("root", own("root")), **options))
    assert paths.build(leaf, [root], pinned(root), NOW, purpose="2.23.133.8.1")
    refused("chain", paths.build, leaf, [root], pinned(root), NOW, purpose="2.23.133.8.3")


@pytest.mark.parametrize("pss", [False, True])
def test_rsa_roots_sign_in_both_ways(pss):
    key = mint.rsa_key("root")
    root = x509.parse(mint.certificate("root", key, pss=pss))
    leaf = x509.parse(mint.certificate("leaf", own("leaf"), ("root", key), authority=False, pss=pss))
    assert paths.build(leaf, [root], pinned(root), NOW)
    keys.check(root.key, root.algorithm, root.tbs, root.signature)


def test_ed25519_and_every_curve_sign():
    for key, algorithm in (
        (ed25519.Ed25519PrivateKey.generate(), None),
        (mint.key("a"), hashes.SHA256()),
        (mint.key("b", P384), hashes.SHA384()),
        (mint.key("c", ec.SECP521R1), hashes.SHA512()),
    ):
        builder = theirs.CertificateBuilder(mint.named("r"), mint.named("r"), key.public_key(), 7, mint.START, mint.END)
        found = x509.parse(builder.sign(key, algorithm).public_bytes(mint.Encoding.DER))
        keys.check(found.key, found.algorithm, found.tbs, found.signature)
        refused("signature", keys.check, found.key, found.algorithm, found.tbs + b"\0", found.signature)
        refused("signature", keys.check, found.key, found.algorithm, found.tbs, b"")


# -- what real hardware does to X.509


def test_a_serial_of_zero_is_read_as_amds_are():
    root = mint.certificate("root", own("root"))
    leaf = mint.certificate("leaf", own("leaf"), ("root", own("root")), authority=False, serial=0x7F)
    zero = mint.resigned(leaf, lambda tbs: tbs.replace(b"\x02\x01\x7f", b"\x02\x01\x00", 1), own("root"))
    found = x509.parse(zero)
    assert found.serial == b"\0"
    assert paths.build(found, [x509.parse(root)], pinned(x509.parse(root)), NOW)


def test_an_unsorted_set_is_read_as_nuvotons_are():
    parts = [theirs.NameAttribute(NameOID.COMMON_NAME, "TPM"), theirs.NameAttribute(NameOID.SURNAME, "ABC")]
    name = theirs.Name([theirs.RelativeDistinguishedName(parts)])
    sorted_one = mint.certificate(name, own("root"))
    one, two = der.children(der.children(der.one(name.public_bytes()))[0])
    unsorted = mint.resigned(sorted_one, lambda tbs: tbs.replace(one.raw + two.raw, two.raw + one.raw), own("root"))
    assert unsorted != sorted_one
    found = x509.parse(unsorted)
    assert found.self_issued
    keys.check(found.key, found.algorithm, found.tbs, found.signature)


def test_a_root_signed_with_sha1_is_pinned_by_its_key_and_signs_nothing_with_sha1():
    sha1 = mint.tlv(0x30, mint.der_oid("1.2.840.113549.1.1.5") + b"\5\0")
    refused("sig_algo", keys.check, mint.rsa_key("root").public_key(), sha1, b"data", bytes(256))


@pytest.mark.parametrize("stated", [b"", mint.tlv(0x30, b""), mint.tlv(0x30, mint.tlv(0xA2, mint.der_number(48)))])
def test_pss_that_leaves_its_hash_to_sha1_is_refused(stated):
    algorithm = mint.tlv(0x30, mint.der_oid("1.2.840.113549.1.1.10") + stated)
    refused("sig_algo", keys.check, mint.rsa_key("root").public_key(), algorithm, b"data", bytes(256))


def test_a_key_for_encryption_only_is_read_as_infineons_are():
    plain = mint.spki(mint.rsa_key("root"))
    oaep = plain.replace(mint.der_oid("1.2.840.113549.1.1.1"), mint.der_oid("1.2.840.113549.1.1.7"))
    assert keys.read(oaep) == keys.read(plain)


def test_a_key_that_is_weak_or_no_point_is_refused():
    def rsa_spki(modulus, exponent):
        body = mint.tlv(0x30, mint.der_number(modulus) + mint.der_number(exponent))
        algorithm = mint.tlv(0x30, mint.der_oid("1.2.840.113549.1.1.1") + b"\5\0")
        return mint.tlv(0x30, algorithm + mint.tlv(3, b"\0" + body))

    modulus = mint.rsa_key("root").public_key().public_numbers().n
    for n, e in ((modulus, 1), (modulus, 3), (modulus, 65538), (modulus >> 1024 | 1, 65537), (modulus << 7000, 65537)):
        with pytest.raises(Rejected) as caught:
            keys.read(rsa_spki(n, e))
        assert caught.value.reason in ("weak_key", "oversize")
    point = mint.spki(mint.key("a"))
    refused("point", keys.read, point[:-1] + bytes((point[-1] ^ 1,)))
    other_curve = point.replace(mint.der_oid("1.2.840.10045.3.1.7"), mint.der_oid("1.2.840.10045.3.1.1"))
    refused("curve", keys.read, other_curve)
    refused("key_type", keys.read, point.replace(mint.der_oid("1.2.840.10045.2.1"), mint.der_oid("1.2.840.10045.2.9")))


@pytest.mark.parametrize("keep", [0, 1, 2, 3, 10, 100, -1])
def test_a_certificate_cut_anywhere_is_refused_while_it_is_read(keep):
    data = mint.certificate("root", own("root"))
    refused("truncated", x509.parse, data[:keep])
    refused("trailing", x509.parse, data + b"\0")
    refused("oversize", x509.parse, data + bytes(16 * 1024))


def test_what_certificates_must_not_say_twice_or_in_two_ways():
    data = mint.certificate("root", own("root"), extensions=[("1.2.3.4", b"\5\0", False), ("1.2.3.5", b"\5\0", False)])
    twice = mint.resigned(data, lambda tbs: tbs.replace(mint.der_oid("1.2.3.5"), mint.der_oid("1.2.3.4")), own("root"))
    refused("der", x509.parse, twice)
    sha256 = mint.resigned(
        data,
        lambda tbs: tbs.replace(mint.der_oid("1.2.840.10045.4.3.3"), mint.der_oid("1.2.840.10045.4.3.2"), 1),
        own("root"),
    )
    refused("sig_algo", x509.parse, sha256)


# -- revocation lists


def test_a_list_says_who_until_when_and_whom():
    root = x509.parse(mint.certificate("root", own("root")))
    found = crl.parse(mint.revocations("root", own("root"), [5, 300]))
    crl.check(found, root, NOW)
    assert found.serials == {b"\5", b"\x01\x2c"}
    refused("crl_expired", crl.check, found, root, found.until + 1)
    refused("crl_not_yet", crl.check, found, root, found.since - crl.MAX_AHEAD - 1)
    refused("crl_expired", crl.check, found, root, float("nan"))
    other = x509.parse(mint.certificate("other", own("root")))
    refused("crl_issuer", crl.check, found, other, NOW)
    nobody = x509.parse(mint.certificate("root", own("root"), usage=["key_cert_sign"]))
    refused("crl_issuer", crl.check, found, nobody, NOW)
    forged = x509.parse(mint.certificate("root", own("forger")))
    refused("crl_signature", crl.check, found, forged, NOW)


def test_a_partial_list_is_no_list():
    builder = theirs.CertificateRevocationListBuilder(mint.named("root"), mint.START, mint.END)
    builder = builder.add_extension(theirs.DeltaCRLIndicator(1), critical=True)
    refused("crl_critical", crl.parse, builder.sign(own("root"), hashes.SHA384()).public_bytes(mint.Encoding.DER))


def test_one_good_list_beside_an_old_one_counts_and_a_good_one_always_revokes():
    root, leaf = (
        mint.certificate("root", own("root")),
        mint.certificate("leaf", own("leaf"), ("root", own("root")), serial=9),
    )
    path = x509.parse(leaf), x509.parse(root)
    old = crl.parse(mint.revocations("root", own("root"), end=PAST))
    good, bad = (crl.parse(mint.revocations("root", own("root"), serials)) for serials in ([], [9]))
    assert crl.revoked(path, [old, good], NOW) == {path[1].subject}
    refused("revoked", crl.revoked, path, [old, good, bad], NOW)
    refused("crl_expired", crl.revoked, path, [old], NOW)
    assert crl.until(path, [old, good], NOW) == good.until


def test_an_endorsement_holds_no_longer_than_the_first_certificate_of_its_path_to_end():
    sooner = datetime.datetime(2026, 9, 1, tzinfo=datetime.UTC)
    root = mint.certificate("maker", mint.key("maker"), end=sooner)
    ek = public.parse(mint_tpm.evidence().ek)
    found = endorsement.verify(ek, mint_tpm.ek_certificate(), (), mint.roots(root), NOW)
    assert x509.parse(mint_tpm.ek_certificate()).not_after > sooner.timestamp()
    assert found.until == sooner.timestamp()
