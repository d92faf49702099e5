"""Every type of evidence through its public entry: wrapped as files are, and well signed nonsense of whoever holds a maker's key."""

import base64
import json
from collections.abc import Callable
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from fuzz.minting import mint
from fuzz.target import Finish, Shape, Target
from propolis.crypto import cbor
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import registry
from propolis.decisions.appraisal.judge import judge
from propolis.decisions.appraisal.result import Endorsements
from propolis.terms.errors import Rejected

P384 = ec.SECP384R1
Trust = Callable[[], tuple[Endorsements, Roots]]


def judged(kind: str, trust: Trust) -> Callable[[bytes], object]:
    """Return a judgement that raises its refusal; the nonce is not demanded, so that what is behind it is reached."""
    held: list[tuple[Endorsements, Roots]] = []

    def run(data: bytes) -> object:
        if not held:
            held.append(trust())
        endorsements, roots = held[0]
        found = judge(kind, data, endorsements=endorsements, nonce=None, roots=roots, now=mint.NOW)
        if not found.ok:
            raise Rejected(found.reason, found.text)
        return found.appraised

    return run


def _target(
    name: str, kind: str, trust: Trust, shape: Shape, *samples: Callable[[], bytes], finish: Finish | None = None
) -> Target:
    return Target(
        name=name,
        run=judged(kind, trust),
        samples=lambda: [sample() for sample in samples],
        shape=shape,
        refusals=(Rejected,),
        finish=finish,
    )


def _intel(tee: str = "SGX") -> Trust:
    return lambda: (mint.endorsements(documents=[mint.collateral(tee)]), mint.intel_roots())


def _pinned(name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> Trust:
    own = (name,) if curve is ec.SECP256R1 else (name, curve)  # the mint remembers keys by how they were asked for
    return lambda: (mint.endorsements(), mint.roots(keys=[mint.key(*own)]))


def _nitro() -> tuple[Endorsements, Roots]:
    return mint.endorsements(), mint.roots(mint.aws()[0])


def _azure() -> tuple[Endorsements, Roots]:
    return mint.endorsements(mint.snp_makers()[1], documents=[mint.collateral("TDX")]), Roots(
        pins=mint.snp()[1].pins | mint.intel_roots().pins,
        certificates=(*mint.snp()[1].certificates, *mint.intel_roots().certificates),
    )


def snp_fields() -> bytes:
    """Return a report as JSON fields, the way the `sev` crate writes them."""
    report = mint.snp_report()
    spans = {
        "family_id": (0x10, 16), "image_id": (0x20, 16), "report_data": (0x50, 64), "measurement": (0x90, 48),
        "host_data": (0xC0, 32), "id_key_digest": (0xE0, 48), "author_key_digest": (0x110, 48), "report_id": (0x140, 32),
        "report_id_ma": (0x160, 32), "chip_id": (0x1A0, 64),
    }  # fmt: skip
    tcb = {"fmc": None, "bootloader": 10, "tee": 1, "snp": 23, "microcode": 84}
    fields: dict[str, object] = {name: list(report[at : at + size]) for name, (at, size) in spans.items()}
    fields |= dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb)
    fields |= {"version": 3, "policy": 0x30000, "sig_algo": 1, "plat_info": 0x20}
    fields |= {"cpuid_fam_id": 0x19, "cpuid_mod_id": 0x11, "cpuid_step": 1}
    fields |= {name: {"major": 0, "minor": 0, "build": 0} for name in ("current", "committed")}
    fields["signature"] = {"r": list(report[0x2A0:0x2E8]), "s": list(report[0x2E8:0x330])}
    chain = [{"cert_type": "VCEK", "data": base64.b64encode(mint.snp_leaf()).decode()}]
    return json.dumps({"attestation_report": fields, "cert_chain": chain}).encode()


def _wrapped() -> bytes:
    return json.dumps({
        "type": "snp-report/1", "evidence": base64.b64encode(mint.snp_report()).decode(),
        "certificates": [mint.pem(mint.snp_leaf())],
    }).encode()  # fmt: skip


def _with_log() -> bytes:
    log = mint.ccel((1, b"a" * 48), (2, b"b" * 48), (3, b"c" * 48))
    rtmrs = (mint.extended(b"a" * 48), mint.extended(b"b" * 48), mint.extended(b"c" * 48), bytes(48))
    data = mint.quote(4, mint.td_body(rtmrs=rtmrs), tee=0x81)
    more = {"cc_eventlog": mint.url(log), "collateral": json.loads(mint.collateral("TDX"))}
    return json.dumps({"quote": data.hex(), **more}).encode()


# -- signed again: what only a maker could send


def _signed_snp(data: bytes) -> bytes:
    body = data[:0x2A0].ljust(0x2A0, b"\0")
    signature = mint.raw_signature(mint.key("chip", P384), body, mint.hashes.SHA384(), 72, "little")
    return (body + signature).ljust(1184, b"\0")


def _signed_psa(data: bytes) -> bytes:
    return mint.sign1(mint.key("iak"), data)


def _signed_nitro(data: bytes) -> bytes:
    return mint.sign1(mint.key("enclave", P384), data, alg=-35, tag=None)


@lru_cache
def _collection() -> dict[int, bytes]:
    return dict(cbor.decode(mint.cca()).value)


def _signed_platform(data: bytes) -> bytes:
    tokens = {**_collection()}
    tokens[44234] = mint.sign1(mint.key("cpak", P384), data, alg=-35)
    return mint.cbor(mint.Tagged((399, tokens)))


def _signed_realm(data: bytes) -> bytes:
    tokens = {**_collection()}
    tokens[44241] = mint.sign1(mint.key("rak", P384), data, alg=-35)
    return mint.cbor(mint.Tagged((399, tokens)))


def _signed_body(data: bytes) -> bytes:
    return mint.quote(3, data[:384].ljust(384, b"\0"))


def _claims(token: bytes) -> bytes:
    return cbor.decode(token).value[2]


def targets() -> list[Target]:
    """Return them all."""
    iak, cpak, ak = _pinned("iak"), _pinned("cpak", P384), _pinned("ak")
    return [
        _target("snp-report", "snp-report", mint.snp, Shape.BINARY, mint.snp_report, lambda: mint.snp_report(version=5)),
        _target("snp-report wrapped", "snp-report", mint.snp, Shape.JSON, _wrapped),
        _target("snp-report fields", "snp-report", mint.snp, Shape.JSON, snp_fields),
        _target("snp-report signed", "snp-report", mint.snp, Shape.BINARY, mint.snp_report, finish=_signed_snp),
        _target("sgx-quote", "sgx-quote", _intel(), Shape.BINARY, lambda: mint.quote(3, mint.sgx_body()), lambda: mint.quote(5, mint.sgx_body())),
        _target("sgx-quote signed", "sgx-quote", _intel(), Shape.BINARY, mint.sgx_body, finish=_signed_body),
        _target("tdx-quote", "tdx-quote", _intel("TDX"), Shape.BINARY, lambda: mint.quote(4, mint.td_body(), tee=0x81), lambda: mint.quote(5, mint.td_body(size=648), tee=0x81)),
        _target("tdx-quote with a log", "tdx-quote", lambda: (mint.endorsements(), mint.intel_roots()), Shape.JSON, _with_log),
        _target("azcvm", "azcvm", _azure, Shape.JSON, mint.azure, lambda: mint.azure(tdx=True)),
        _target("psa-token", "psa-token", iak, Shape.CBOR, mint.psa),
        _target("psa-token signed", "psa-token", iak, Shape.CBOR, lambda: mint.cbor(mint.psa_claims()), finish=_signed_psa),
        _target("cca-token", "cca-token", cpak, Shape.CBOR, mint.cca, lambda: mint.cca(tag=907), lambda: mint.cca(cose_key=True)),
        _target("cca-token platform signed", "cca-token", cpak, Shape.CBOR, lambda: _claims(_collection()[44234]), finish=_signed_platform),
        _target("cca-token realm signed", "cca-token", cpak, Shape.CBOR, lambda: _claims(_collection()[44241]), finish=_signed_realm),
        _target("nitro-doc", "nitro-doc", _nitro, Shape.CBOR, mint.nitro),
        _target("nitro-doc signed", "nitro-doc", _nitro, Shape.CBOR, lambda: cbor.decode(mint.nitro())[2], finish=_signed_nitro),
        _target("parsec-tpm", "parsec-tpm", ak, Shape.CBOR, mint.parsec),
        _target("parsec-tpm in JSON", "parsec-tpm", ak, Shape.JSON, lambda: mint.parsec(as_json=True)),
        Target(name="type of evidence", run=lambda data: registry.find(data.decode("utf-8", "surrogateescape")), samples=lambda: [b"snp-report/1", b"psa-token/2"], shape=Shape.TEXT, refusals=(Rejected,)),
    ]  # fmt: skip
