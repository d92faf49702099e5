"""TPM structures, quotes, firmware logs, IMA lists and policies; and what a chip, or whoever sits on its bus, answers a client."""

from functools import lru_cache

import msgspec

from fuzz import conversation
from fuzz.minting import mint, mint_tpm
from fuzz.target import Shape, Target
from propolis.adapters.tpm import software
from propolis.crypto.tpm import attest, bound, public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import endorsement, eventlog, firmware, ima, member, policy, quote, tpm2, tpm2_bundle
from propolis.decisions.appraisal.judge import judge
from propolis.messages import codec
from propolis.messages.attestation import Evidence as Said
from propolis.terms.errors import ConfigError, MalformedMessage, Rejected, SealBroken, TpmError

LOG, LIST = mint_tpm.firmware_log(), mint_tpm.ima_list(3)
ONE_BANK = mint_tpm.legacy(0, 8, b"1") + mint_tpm.legacy(4, 0xD, b"loader") + mint_tpm.legacy(7, 4, bytes(4))

_ZEROS = "00" * 20  # a violation: its fields are read though nothing hashes to them
OTHER_LISTS = f"""10 {_ZEROS} ima {"ab" * 20} /a
10 {_ZEROS} ima-sig sha256:{"cd" * 32} /b 030204{"ef" * 20}
10 {_ZEROS} ima-buf sha256:{"cd" * 32} kexec-cmdline {"61" * 9}
""".encode()


def _evidence() -> tpm2.Evidence:
    return mint_tpm.evidence(LOG, LIST)


def _bundle() -> bytes:
    return tpm2_bundle.written(_evidence()).encode()


def _judged(data: bytes) -> None:
    found = judge("tpm2-quote", data, endorsements=mint.endorsements(), nonce=None, roots=mint_tpm.maker_roots(), now=mint.NOW)  # fmt: skip
    if not found.ok:
        raise Rejected(found.reason, found.text)


def _log(data: bytes) -> None:
    log = eventlog.parse(data)
    for bank in (*log.banks, Alg.SHA256):
        try:
            eventlog.agrees(log, eventlog.replay(log, bank), bank)
            firmware.read(log, bank)
        except Rejected:
            continue


def _list(parse):  # type: ignore[no-untyped-def]
    def run(data: bytes) -> None:
        ima.matched(parse(data), mint_tpm.running(LIST))

    return run


def _endorsed(data: bytes) -> None:
    ek = public.parse(_evidence().ek)
    endorsement.verify(ek, data, [], mint_tpm.maker_roots(), mint.NOW)


def _signed_attest(data: bytes) -> None:
    evidence = _evidence()
    signature = mint_tpm.attester(LOG, LIST)._signed(data)
    asked = quote.Asked(binding=mint.NONCE, pcrs=mint_tpm.PCRS)
    quote.verify(public.parse(evidence.ak), data, signature, evidence.values, asked)


def _signature(data: bytes) -> None:
    evidence = _evidence()
    attest.verify(public.parse(evidence.ak), evidence.attest, attest.parse_signature(data))


def _area(data: bytes) -> None:
    found = public.parse(data)
    assert len(found.name) > 2
    quote.check_key(found)


def _member_samples() -> list[bytes]:
    evidence = _evidence()
    said = Said(
        nonce=mint.NONCE, kind="tpm2-quote/1", ek=evidence.ek, certificate=evidence.certificate, ak=evidence.ak,
        attest=evidence.attest, signature=evidence.signature, pcrs=tuple(evidence.values),
        values=tuple(evidence.values.values()),
    )  # fmt: skip
    return [msgspec.msgpack.encode([msgspec.to_builtins(said, builtin_types=(bytes,)), LOG, LIST])]


def _member(data: bytes) -> None:
    said, log, measured = codec.decode(data, tuple[Said, bytes, bytes])
    member.judge(member.shown(said, [log, measured], Alg.SHA256), mint.NONCE, _rules(), None, mint.NOW)


@lru_cache
def _rules() -> policy.Rules:
    """Return a rehearsal's: the mint's keys are emulated, and say so."""
    maker = mint.certificate("maker", mint.key("maker"))
    rehearsal = policy.Rehearsal(
        i_know_that_an_emulated_tpm_proves_nothing=True, roots=tuple(mint_tpm.maker_roots().pins)
    )
    return policy.Rules(
        policy.Policy(
            pcrs=mint_tpm.PCRS[:-1], measurements="clean", certificates=(mint.pem(maker),), rehearsal=rehearsal
        )
    )


def _bound() -> bytes:
    told = _evidence()
    ek, ak = public.parse(told.ek), public.parse(told.ak)
    srk = public.parse(software._area(public.srk_ecc(), mint.key("srk")))
    machine = bound.Machine(ek=ek, ak=ak, srk=srk, registers={7: bytes(32)})
    return bound.seal(machine, b"plain", b"info", lambda size: b"d" * size)


POLICY = f"""
name = "house"
pcrs = [0, 2, 4, 7]
lease_seconds = 600
measurements = "clean"
[[image]]
digest = "{"ab" * 32}"
name = "kernel"
claims = ["lockdown"]
[[approved]]
ek = "000b{"cd" * 32}"
maker = "IFX"
[rehearsal]
i_know_that_an_emulated_tpm_proves_nothing = true
roots = ["{"ef" * 32}"]
""".encode()


def targets() -> list[Target]:
    """Return them all."""
    refused = (Rejected,)
    return [
        Target(name="tpm2-quote", run=_judged, samples=lambda: [_bundle()], shape=Shape.JSON, refusals=refused),
        Target(name="TPM quote signed", run=_signed_attest, samples=lambda: [_evidence().attest], shape=Shape.BINARY, refusals=refused),
        Target(name="TPMS_ATTEST", run=attest.parse, samples=lambda: [_evidence().attest], shape=Shape.BINARY, refusals=refused),
        Target(name="TPMT_SIGNATURE", run=_signature, samples=lambda: [_evidence().signature, b"\0\x14\0\x0b\1\0" + bytes(256)], shape=Shape.BINARY, refusals=refused),
        Target(name="TPMT_PUBLIC", run=_area, samples=lambda: [_evidence().ak, _evidence().ek, public.ek_rsa()[:-256] + b"\xff" * 256], shape=Shape.BINARY, refusals=refused),
        Target(name="stem of a TPMT_PUBLIC", run=public.stem, samples=lambda: [_evidence().ak, public.ek_rsa()], shape=Shape.BINARY, refusals=refused),
        Target(name="endorsement certificate", run=_endorsed, samples=lambda: [mint_tpm.ek_certificate()], shape=Shape.DER, refusals=refused),
        Target(name="firmware log", run=_log, samples=lambda: [LOG, ONE_BANK, mint.ccel((1, b"a" * 48))], shape=Shape.BINARY, refusals=refused),
        Target(name="UEFI variable", run=firmware.variable, samples=lambda: [mint_tpm.variable("SecureBoot", b"\1")], shape=Shape.BINARY, refusals=refused),
        Target(name="IMA list in text", run=_list(ima.parse_ascii), samples=lambda: [LIST, OTHER_LISTS], shape=Shape.TEXT, refusals=refused),
        Target(name="IMA list in binary", run=_list(ima.parse_binary), samples=lambda: [mint_tpm.ima_binary(3)], shape=Shape.BINARY, refusals=refused),
        Target(name="TPM file", run=lambda data: tpm2_bundle.unwrap(data, "tpm2-quote"), samples=lambda: [_bundle()], shape=Shape.JSON, refusals=refused),
        Target(name="evidence of a member", run=_member, samples=_member_samples, shape=Shape.MSGPACK, refusals=(Rejected, MalformedMessage)),
        Target(name="message bound to a machine", run=bound.read, samples=lambda: [_bound()], shape=Shape.MSGPACK, refusals=(SealBroken,)),
        Target(name="appraisal policy", run=policy.read, samples=lambda: [POLICY], shape=Shape.TEXT, refusals=(ConfigError,)),
        Target(name="answers of a TPM", run=conversation.spoilt, samples=conversation.samples, shape=Shape.BINARY, refusals=(TpmError,)),
    ]  # fmt: skip
