"""TPM 2.0 evidence, whole: endorsement, quote, logs, and what follows (docs/specs/attestation.md, steps 4 to 13).

`Evidence` is what a node sends and what a file holds (JSON, base64). A quote of somebody unknown shows that some TPM signed;
what needs more (an endorsement that leads to a pinned root, an activated credential, a log) is a fact of its own.
"""

from collections.abc import Mapping

import msgspec

from propolis.crypto.paths import Roots
from propolis.crypto.tpm import attest, public
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import Alg
from propolis.crypto.tpm.public import Public
from propolis.decisions.appraisal import endorsement, eventlog, firmware, ima, quote, tpm_roots
from propolis.decisions.appraisal.endorsement import Endorsed
from propolis.decisions.appraisal.result import (
    NO_REFERENCE,
    Appraised,
    Endorsements,
    Fact,
    Facts,
    Reference,
    Verified,
    appraised,
    expires,
)
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected
from propolis.terms.trust import Value, Vector

TECHNOLOGY, VIRTUAL = "tpm", "vtpm"
EMULATOR_FIRMWARE = 0x20191023  # libtpms' first firmware word
MAX_AREA, MAX_SIGNATURE = 1024, 1024


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Public areas (TPMT_PUBLIC), the EK's certificate (DER), a quote, the registers' values of one bank, and the logs."""

    ak: bytes
    attest: bytes
    signature: bytes
    values: Mapping[int, bytes]
    bank: int = Alg.SHA256
    ek: bytes = b""
    certificate: bytes = b""
    event_log: bytes = b""
    ima_list: bytes = b""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What verification found. `endorsed`: None without a certificate that leads to a pinned root."""

    ak: Public
    ek: Public | None
    endorsed: Endorsed | None
    quoted: quote.Quote
    boot: firmware.Boot | None
    measured: int | None  # entries of the IMA list that the quote covers; None without a list
    violations: int


def examine(evidence: Evidence, asked: quote.Asked, endorsements: Endorsements, roots: Roots, now: Seconds) -> Found:
    """Verify evidence against what was asked. Raises Rejected with the reason of the step that failed."""
    if max(len(evidence.ak), len(evidence.ek)) > MAX_AREA or len(evidence.signature) > MAX_SIGNATURE:
        raise Rejected("oversize", "a key or signature longer than any TPM makes")
    ak, ek, endorsed = public.parse(evidence.ak), None, None
    if evidence.ek:
        ek = public.parse(evidence.ek)
        endorsement.check_key(ek)
    if evidence.certificate:
        if ek is None:
            raise Rejected("ek_key", "a certificate without the endorsement key it is of")
        endorsed = endorsement.verify(ek, evidence.certificate, endorsements.certificates, roots, now)
    quoted = quote.verify(ak, evidence.attest, evidence.signature, evidence.values, asked)
    boot = _boot(evidence, quoted) if evidence.event_log else None
    measured, violations = _measured(evidence, quoted) if evidence.ima_list else (None, 0)
    return Found(ak=ak, ek=ek, endorsed=endorsed, quoted=quoted, boot=boot, measured=measured, violations=violations)


def _boot(evidence: Evidence, quoted: quote.Quote) -> firmware.Boot:
    log = eventlog.parse(evidence.event_log)
    eventlog.agrees(log, quoted.values, evidence.bank)
    boot = firmware.read(log, evidence.bank)  # a log says nothing of registers that were not quoted
    return msgspec.structs.replace(
        boot,
        secure_boot=boot.secure_boot if 7 in quoted.values else None,
        applications=boot.applications if 4 in quoted.values else (),
    )


def _measured(evidence: Evidence, quoted: quote.Quote) -> tuple[int, int]:
    if ima.REGISTER not in quoted.values:
        raise Rejected("ima_pcr", "a list of measurements beside a quote without their register")
    ascii_list = evidence.ima_list[:3] == b"10 "
    entries = ima.parse_ascii(evidence.ima_list) if ascii_list else ima.parse_binary(evidence.ima_list)
    count = ima.matched(entries, quoted.values[ima.REGISTER], evidence.bank)
    return count, sum(entry.violation for entry in entries[:count])


def emulated(clock: Clock) -> bool:
    """Return whether the firmware's version is the emulator's. A no says nothing: only the endorsement shows a chip."""
    return clock.firmware >> 32 == EMULATOR_FIRMWARE


# -- as one of the technologies of `propolis verify` (evidence.md, V1)


def verify(evidence: bytes, endorsements: Endorsements, nonce: bytes | None, roots: Roots, now: Seconds) -> Verified:
    """Verify a bundle (`unwrap` made it). Without a nonce it is a quote of no known day. Raises Rejected."""
    try:
        bundle = msgspec.msgpack.decode(evidence, type=Evidence)
    except msgspec.MsgspecError as error:
        raise Rejected("envelope_field", str(error)) from error
    said = attest.parse(bundle.attest)
    pcrs = tuple(pcr for selection in said.selections for pcr in selection.pcrs)
    ek_name = public.parse(bundle.ek).name if bundle.ek else b""
    asked = quote.Asked(
        binding=said.extra if nonce is None else nonce, pcrs=pcrs, bank=bundle.bank, ek_name=ek_name, home=False
    )
    found = examine(bundle, asked, endorsements, roots, now)
    until = found.endorsed.until if found.endorsed else now
    return Verified(
        technology=_technology(found),
        identity=_identity(found),
        facts=facts(found, said.extra),
        fresh=nonce is not None,
        until=expires(now, until),
    )


def _technology(found: Found) -> str:
    maker = found.endorsed.maker if found.endorsed else None
    return VIRTUAL if maker is not None and maker.make is tpm_roots.Make.VIRTUAL else TECHNOLOGY


def _identity(found: Found) -> str:
    """Return who signed. Nothing in a file ties it to the endorsement key beside it, which anybody can show."""
    return f"ak:{found.ak.name.hex()}"


def facts(found: Found, binding: bytes) -> Facts:
    """Return what verification found as names and values."""
    clock, boot, maker = found.quoted.clock, found.boot, found.endorsed.maker if found.endorsed else None
    told: dict[str, Fact] = {
        "nonce": binding.hex(),
        "endorsed": found.endorsed is not None,
        "root": found.endorsed.root if found.endorsed else None,
        "maker": maker.name if maker else None,
        "make": maker.make.value if maker else None,
        "emulated": emulated(clock),
        "home": found.quoted.home,
        "activated": False,
        "resets": clock.resets,
        "restarts": clock.restarts,
        "clock-safe": clock.safe,
        "firmware": f"{clock.firmware:#018x}",
        "pcrs": tuple(f"{pcr}:{value.hex()}" for pcr, value in sorted(found.quoted.values.items())),
        "log": boot is not None,
        "secure-boot": boot.secure_boot if boot else None,
        "loaded": tuple(digest.hex() for digest in boot.applications) if boot else (),
        "measurements": found.measured,
        "violations": found.violations,
    }
    return told


def appraise(verified: Verified, reference: Reference = NO_REFERENCE) -> Appraised:
    """Judge a quote. Claims: what the table of guarantees names for technologies tpm and measured-boot."""
    fact = verified.facts
    loaded = fact["loaded"]
    known = isinstance(loaded, tuple) and bool(loaded) and set(loaded) <= reference.images
    claims = {
        "endorsed": fact["endorsed"] is True and fact["activated"] is True and fact["emulated"] is not True,
        "resident-key": fact["activated"] is True,
        "secure-boot": fact["secure-boot"] is True,
        "known-image": known,
    }
    return appraised(verified, claims, vector(fact, claims, known=known))


def vector(fact: Facts, claims: Mapping[str, bool], *, known: bool) -> Vector:
    """Return the AR4SI vector of a quote; of `claims`, endorsed and resident-key are looked at."""
    executables = Value.NO_CLAIM
    if fact["log"] is True:
        executables = Value.APPROVED_BOOT if known else Value.UNRECOGNIZED
    if fact["violations"]:
        executables = Value.UNSAFE
    configuration = {True: Value.RECOGNIZED, False: Value.UNSUPPORTABLE}.get(
        fact["secure-boot"] is True, Value.NO_CLAIM
    )
    return Vector(
        instance_identity=Value.RECOGNIZED if claims["endorsed"] and claims["resident-key"] else Value.UNTRUSTED,
        hardware=Value.RECOGNIZED if claims["endorsed"] and claims["resident-key"] else Value.UNTRUSTED,
        configuration=configuration if fact["log"] is True else Value.NO_CLAIM,
        executables=executables,
        storage_opaque=Value.RECOGNIZED if claims["resident-key"] and claims["endorsed"] else Value.NO_CLAIM,
    )
