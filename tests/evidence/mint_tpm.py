"""Complete TPM evidence under a maker of our own: firmware logs, IMA lists, quotes that agree with both."""

import asyncio
from functools import lru_cache
from hashlib import sha1, sha256

import mint

from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto import roca
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import eventlog, ima
from propolis.decisions.appraisal.endorsement import EK_PURPOSE
from propolis.decisions.appraisal.firmware import GLOBAL, Kind
from propolis.decisions.appraisal.tpm2 import Evidence

PCRS = (0, 1, 2, 3, 4, 5, 6, 7, 10)
SHA1_SHA256 = ((Alg.SHA1, 20), (Alg.SHA256, 32))


def u32(number):
    return number.to_bytes(4, "little")


# -- firmware logs


def header(banks=SHA1_SHA256, signature=b"Spec ID Event03\0"):
    """The first entry: a legacy event that names the banks of all others."""
    spec = signature + bytes(4) + b"\0\2\0\2" + u32(len(banks))
    spec += b"".join(alg.to_bytes(2, "little") + size.to_bytes(2, "little") for alg, size in banks) + b"\0"
    return u32(0) + u32(3) + bytes(20) + u32(len(spec)) + spec


def event(pcr, kind, data, digest_of=None):
    """One entry of a crypto-agile log; `digest_of` = what was really measured."""
    measured = data if digest_of is None else digest_of
    digests = b"\x04\0" + sha1(measured, usedforsecurity=False).digest() + b"\x0b\0" + sha256(measured).digest()
    return u32(pcr) + u32(kind) + u32(2) + digests + u32(len(data)) + data


def legacy(pcr, kind, data):
    """One entry of a log of SHA-1 alone."""
    return u32(pcr) + u32(kind) + sha1(data, usedforsecurity=False).digest() + u32(len(data)) + data


def variable(name, data, vendor=GLOBAL):
    """A UEFI_VARIABLE_DATA."""
    return vendor + len(name).to_bytes(8, "little") + len(data).to_bytes(8, "little") + name.encode("utf-16-le") + data


def entries(secure=b"\1"):
    """What a machine measures that starts with Secure Boot: policy, a loader, separators, the hand-over."""
    return [
        event(0, Kind.S_CRTM_VERSION, b"1"),
        event(7, Kind.VARIABLE_DRIVER_CONFIG, variable("SecureBoot", secure)),
        event(7, Kind.VARIABLE_DRIVER_CONFIG, variable("PK", b"pk")),
        event(4, Kind.BOOT_APPLICATION, b"loader"),
        *(event(pcr, Kind.SEPARATOR, bytes(4)) for pcr in range(8)),
        event(5, Kind.EFI_ACTION, b"Exit Boot Services Returned with Success"),
    ]


def firmware_log(size=0):
    """Return a crypto-agile log of about `size` bytes: drivers as firmware measures them, then what every machine has."""
    rest = b"".join(entries())
    out = bytearray(header())
    number = 0
    while len(out) + len(rest) < size:
        out += event(2, Kind.BOOT_DRIVER, number.to_bytes(4, "little") * 64)
        number += 1
    return bytes(out) + rest


# -- IMA


def fields_of(path, content):
    body = [b"sha256:\0" + sha256(content).digest(), path + b"\0"]
    return b"".join(u32(len(field)) + field for field in body)


def measurements(count):
    """Return (path, template data) of `count` files."""
    paths = [f"/usr/lib/x86_64-linux-gnu/some-library-{number}.so.1".encode() for number in range(count)]
    return [(path, fields_of(path, path)) for path in paths]


def ima_list(count):
    """Return an ima-ng list as text."""
    lines = []
    for path, body in measurements(count):
        digest = sha1(body, usedforsecurity=False).hexdigest()
        lines.append(f"10 {digest} ima-ng sha256:{sha256(path).hexdigest()} ".encode() + path + b"\n")
    return b"".join(lines)


def ima_binary(count):
    """Return the same list in binary."""
    out = b""
    for _, body in measurements(count):
        digest = sha1(body, usedforsecurity=False).digest()
        out += u32(10) + digest + u32(6) + b"ima-ng" + u32(len(body)) + body
    return out


def running(measured):
    """Return what PCR 10 holds after a list in text."""
    value = bytes(32)
    for entry in ima.parse_ascii(measured):
        digest = b"\xff" * 32 if entry.violation else sha256(entry.data).digest()
        value = sha256(value + digest).digest()
    return value


def roca_modulus(bits=2048):
    """A number with the mark: a power of the generator modulo every prime that tells (no key: nobody needs its factors)."""
    product, value = 1, 0
    for prime in roca.PRIMES:
        value += product * ((pow(roca.GENERATOR, 3, prime) - value) * pow(product, -1, prime) % prime)
        product *= prime
    base = (1 << bits - 1) + 1
    found = base + (value - base) % product
    return found if found & 1 else found + product


# -- a node


class _Public:
    """A key of which only the public half is at hand, for a certificate's builder."""

    def __init__(self, key):
        self._key = key

    def public_key(self):
        return self._key


@lru_cache
def attester(firmware=b"", measured=b""):
    """Return an attester whose registers hold what the logs say."""
    made = SoftwareAttester(b"mint")
    if firmware:
        made.registers.update(eventlog.replay(eventlog.parse(firmware), Alg.SHA256))
        made.event_log = firmware
    made.registers[10] = running(measured) if measured else bytes(32)
    return made


def maker_roots():
    return mint.roots(mint.certificate("maker", mint.key("maker")))


@lru_cache
def ek_certificate(**changes):
    told = asyncio.run(attester().identity())
    own = _Public(public.parse(told.ek).key)
    options = {"authority": False, "purposes": [EK_PURPOSE], **changes}
    return mint.certificate("ek", own, ("maker", mint.key("maker")), **options)


def evidence(firmware=b"", measured=b"", nonce=mint.NONCE, pcrs=PCRS):
    """Return one node's evidence, endorsed by the maker."""
    made = attester(firmware, measured)
    told, shown = asyncio.run(made.identity()), asyncio.run(made.show(nonce, pcrs, Alg.SHA256))
    return Evidence(
        ak=told.ak,
        ek=told.ek,
        certificate=ek_certificate(),
        attest=shown.attest,
        signature=shown.signature,
        values=shown.values,
        event_log=firmware,
        ima_list=measured,
    )
