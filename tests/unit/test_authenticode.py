"""The digest of an EFI image is what firmware measures: independent of its signature, and refused where loaders could differ."""

import hashlib
import re
import shutil
import struct
import subprocess
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from propolis.decisions.appraisal import authenticode
from propolis.terms.errors import DataError

OPTIONAL, HEADERS, ENTRY = 0x98, 0x200, 0x98 + 112 + 32  # PE header at 0x80
SECTION = OPTIONAL + 240


def image(bodies=(b"code" * 128, b"data" * 64), *, tail=b"", checksum=0, certificate=b"", order=1):
    """A PE32+ image with a section for each body, one after the other."""
    head = bytearray(HEADERS)
    head[0:2], head[0x3C:0x40], head[0x80:0x84] = b"MZ", struct.pack("<I", 0x80), b"PE\0\0"
    struct.pack_into("<HHIIIHH", head, 0x84, 0x8664, len(bodies), 0, 0, 0, 240, 0x22E)
    struct.pack_into("<H", head, OPTIONAL, 0x20B)
    struct.pack_into("<II", head, OPTIONAL + 32, 0x1000, 0x200)  # alignments
    struct.pack_into("<II", head, OPTIONAL + 56, 0x4000, HEADERS)
    struct.pack_into("<I", head, OPTIONAL + 64, checksum)
    struct.pack_into("<H", head, OPTIONAL + 68, 10)  # an EFI application
    struct.pack_into("<I", head, OPTIONAL + 108, 16)
    place, tables = HEADERS, []
    for number, body in enumerate(bodies):
        tables.append(
            struct.pack(
                "<8sIIIIIIHHI", b".s", len(body), 0x1000 * (number + 1), len(body), place, 0, 0, 0, 0, 0x60000020
            )
        )
        place += len(body)
    for number, table in enumerate(tables[::order]):
        head[SECTION + 40 * number : SECTION + 40 * number + 40] = table
    if certificate:
        struct.pack_into("<II", head, ENTRY, place + len(tail), len(certificate))
    return bytes(head) + b"".join(bodies) + tail + certificate


def by_hand(data, end=None):
    parts = data[: OPTIONAL + 64], data[OPTIONAL + 68 : ENTRY], data[ENTRY + 8 : end]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_it_is_the_hash_of_all_but_what_a_signature_changes():
    plain = image()
    assert authenticode.digest(plain) == by_hand(plain)
    assert authenticode.digest(image(tail=b"more")) == by_hand(image(tail=b"more"))
    signed = image(certificate=b"c" * 64, checksum=77)
    assert authenticode.digest(signed) == authenticode.digest(plain) == by_hand(signed, -64)


def test_sections_count_in_the_order_of_the_file():
    assert authenticode.digest(image(order=-1)) == by_hand(image(order=-1))


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    """A key that signs images, and its certificate."""
    folder, key = tmp_path_factory.mktemp("signer"), rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2026, 1, 1), datetime(2036, 1, 1))
    (folder / "c.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


@pytest.mark.skipif(shutil.which("osslsigncode") is None, reason="osslsigncode is not installed: the oracle is missing")
@pytest.mark.parametrize("more", [{}, {"tail": b"t" * 16}, {"bodies": (b"x" * 512,)}, {"order": -1}])
def test_a_signature_by_another_program_is_of_this_digest(signer, tmp_path, more):
    def osslsigncode(*words):
        done = subprocess.run(
            ["osslsigncode", *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )  # fmt: skip
        return done.stdout + done.stderr

    (tmp_path / "i.efi").write_bytes(image(**more))
    certificate, key = str(signer / "c.pem"), str(signer / "k.pem")
    said = osslsigncode("sign", "-certs", certificate, "-key", key, "-h", "sha256", "-in", "i.efi", "-out", "s.efi")
    assert (tmp_path / "s.efi").is_file(), said
    (found,) = set(
        re.findall(
            r"(?:Current|Calculated) message digest\s*:\s*([0-9A-F]{64})", osslsigncode("verify", "-in", "s.efi")
        )
    )
    plain, signed = (authenticode.digest((tmp_path / name).read_bytes()) for name in ("i.efi", "s.efi"))
    assert plain == signed == found.lower()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: b"ELF" + d[3:], "begin with MZ"),
        (lambda d: d[:0x80] + b"NE\0\0" + d[0x84:], "no PE header"),
        (lambda d: d[:0x90], "ends within its headers"),
        (lambda d: d[:OPTIONAL] + b"\x07\x01" + d[OPTIONAL + 2 :], "optional header of another kind"),
        (lambda d: d[:-8], "outside the file"),
        (lambda d: d[: SECTION + 20] + struct.pack("<I", 0x100) + d[SECTION + 24 :], "overlap"),
        (lambda d: d[: OPTIONAL + 60] + struct.pack("<I", 2**31) + d[OPTIONAL + 64 :], "headers end elsewhere"),
        (lambda d: d[:ENTRY] + struct.pack("<II", HEADERS, 64) + d[ENTRY + 8 :], "certificate table is not its end"),
        (lambda d: d[: OPTIONAL + 108] + struct.pack("<I", 2) + d[OPTIONAL + 112 :], "without room for a certificate"),
        (lambda d: d[:0x3C] + struct.pack("<I", 2**32 - 1) + d[0x40:], "PE header"),
        (lambda d: b"", "begin with MZ"),
    ],
)
def test_what_is_no_image_or_an_ambiguous_one_is_refused(change, why):
    with pytest.raises(DataError, match=why):
        authenticode.digest(change(image()))


def test_no_bytes_make_anything_else_escape():
    whole = image()
    for place in range(0, SECTION + 80, 1):
        for value in (0, 0xFF):
            data = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                assert len(authenticode.digest(data)) == 64
            except DataError:
                continue
