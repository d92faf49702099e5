"""The readers under evidence, each alone: DER, certificates, lists, keys, CBOR, COSE, JSON, collateral, EAR, files of roots."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from fuzz.evidence import P384
from fuzz.minting import mint
from fuzz.target import Finish, Shape, Target
from propolis.crypto import cbor, cose, crl, der, ear, identity, keys, paths, x509
from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import bundles, dcap_quote, envelope, hcl, jsonic, pck, registry, snp_report
from propolis.terms.errors import Rejected
from propolis.terms.trust import Tier

VERIFIER = b"v" * 32


def _walk(data: bytes) -> None:
    def inside(element: der.Element, depth: int) -> None:
        for child in der.children(element) if element.tag & 0x20 and depth < 20 else ():
            inside(child, depth + 1)

    root = der.one(data, data[0] if data else 0)
    inside(root, 0)
    for read in (der.oid, der.integer, der.boolean, der.bits, x509.instant):
        for child in der.children(root):
            try:
                read(child)
            except Rejected:
                continue


def certificate(data: bytes) -> None:
    """Ask a certificate everything that anybody asks, look for a path above it, and verify it as its own issuer."""
    found = x509.parse(data)
    assert isinstance(found.pin, str)
    found.authority(), found.purposes(), found.may_sign_certificates(), found.may_sign_lists(), found.understood()
    with contextlib.suppress(Rejected):
        paths.build(found, [found, *map(x509.parse, mint.snp_makers())], Roots(pins=frozenset({found.pin})), mint.NOW)
    keys.check(found.key, found.algorithm, found.tbs, found.signature)


def _list(data: bytes) -> None:
    issuer = x509.parse(mint.certificate("root", mint.key("root", P384)))
    crl.check(crl.parse(data), issuer, mint.NOW)


def _collateral(data: bytes) -> None:
    endorsements = mint.endorsements(documents=[data])
    registry.KNOWN["sgx-quote"].verify(mint.quote(3, mint.sgx_body()), endorsements, None, mint.intel_roots(), mint.NOW)


def _signed_info(part: str) -> Finish:
    bundle: dict[str, str] = {}

    def finish(data: bytes) -> bytes:
        if not bundle:
            bundle.update(json.loads(mint.collateral()))
        text = data.decode("utf-8", "replace")
        signature = mint.raw_signature(mint.key("tcb"), text.encode(), mint.hashes.SHA256(), 32).hex()
        return json.dumps({**bundle, part: text, f"{part}_signature": signature}).encode()

    return finish


def _signed_tbs(data: bytes) -> bytes:
    algorithm = der.children(der.one(mint.snp_makers()[0]))[1].raw
    signature = mint.key("ark", P384).sign(data, ec.ECDSA(mint.hashes.SHA384(), deterministic_signing=True))
    return mint.tlv(0x30, data + algorithm + mint.tlv(0x03, b"\0" + signature))


def _signed_certificate(data: bytes) -> None:
    found = x509.parse(data)
    found.authority(), found.purposes(), found.may_sign_certificates()
    paths.build(found, [], mint.roots(mint.snp_makers()[0]), mint.NOW)


def _document(part: str) -> bytes:
    text: str = json.loads(mint.collateral())[part]
    return text.encode()


def _root() -> bytes:
    return mint.certificate("root", mint.key("root", P384), extensions=[("1.2.3", b"\5\0", False)])


def _pss() -> bytes:
    """Return a certificate signed by PSS, its signature blotted out: such a signature has chance in it."""
    return mint.certificate("pss", mint.rsa_key("root"), pss=True)[:-256] + b"\x55" * 256


def _tbs() -> list[bytes]:
    return [der.children(der.one(each))[0].raw for each in (mint.snp_makers()[1], mint.snp_makers()[0])]


def _ear() -> bytes:
    appraisal = ear.Appraisal(status=Tier.WARNING, policies=("p",), claims=("c",), technology="tpm")
    result = ear.Result(
        iat=1, exp=2**33, node="00" * 32, verifier=ear.VerifierId("propolis", "1"), submods={ear.SUBMODULE: appraisal}
    )
    return ear.sign(result, mint_signature).encode()


def mint_signature(data: bytes) -> bytes:
    """Sign as the verifier does whose EARs are fuzzed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(VERIFIER).sign(data)


def _read_ear(data: bytes) -> None:
    ear.verify(data.decode("utf-8", "surrogateescape"), identity.public_of(VERIFIER), 1e9)


def _signed_ear(data: bytes) -> bytes:
    head = _ear().split(b".")[0]
    body = base64.urlsafe_b64encode(data).rstrip(b"=")
    signature = base64.urlsafe_b64encode(mint_signature(head + b"." + body)).rstrip(b"=")
    return head + b"." + body + b"." + signature


def _claims_of_ear() -> bytes:
    body = _ear().split(b".")[1]
    return base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))


def _jwk() -> bytes:
    x, y = mint.point(mint.key("iak"))[1:33], mint.point(mint.key("iak"))[33:]
    return json.dumps({"kty": "EC", "crv": "P-256", "x": mint.url(x), "y": mint.url(y)}).encode()


def _roots(data: bytes) -> None:
    found = bundles.read(data)
    found.roots(), found.beside_roots(), found.endorsements()


def _spelt(data: bytes) -> None:
    jsonic.spelt(data.decode("utf-8", "replace"), "it")


def _target(
    name: str, run: Callable[[bytes], Any], shape: Shape, *samples: Callable[[], bytes], finish: Finish | None = None
) -> Target:
    return Target(
        name=name,
        run=run,
        samples=lambda: [sample() for sample in samples],
        shape=shape,
        refusals=(Rejected,),
        finish=finish,
    )


def targets() -> list[Target]:
    """Return them all."""
    return [
        _target("DER", _walk, Shape.DER, _root, mint.pck),
        _target("certificate", certificate, Shape.DER, _root, _pss),
        Target(name="certificate signed", run=_signed_certificate, samples=_tbs, shape=Shape.DER, refusals=(Rejected,), finish=_signed_tbs),
        _target("PCK certificate", lambda data: pck.read(x509.parse(data)), Shape.DER, mint.pck),
        _target("revocation list", _list, Shape.DER, lambda: mint.revocations("root", mint.key("root", P384), [1, 2, 3])),
        _target("public key", keys.read, Shape.DER, lambda: mint.spki(mint.rsa_key("root")), lambda: mint.spki(mint.key("root", P384))),
        _target("PEM text", x509.read_all, Shape.TEXT, lambda: mint.pem(*mint.intel()).encode()),
        _target("file of roots", _roots, Shape.DER, lambda: mint.intel()[0], lambda: mint.pem(*mint.intel()).encode(), lambda: mint.spki(mint.key("iak")), lambda: mint.intel()[0].hex().encode()),
        _target("file of roots in JSON", _roots, Shape.JSON, _jwk, mint.collateral),
        _target("CBOR", cbor.decode, Shape.CBOR, mint.psa, mint.cca, mint.nitro),
        _target("COSE", lambda data: cose.parse(cbor.decode(data)), Shape.CBOR, mint.psa),
        _target("JSON", jsonic.read, Shape.JSON, mint.azure),
        _target("bytes in text", _spelt, Shape.TEXT, lambda: mint.snp_report().hex().encode(), lambda: mint.url(mint.snp_report()).encode()),
        _target("envelope", lambda data: envelope.octets(data, "snp-report"), Shape.JSON, lambda: json.dumps({"evidence": "00ff", "collateral": {"a": 1}}).encode()),
        _target("SNP report", snp_report.parse, Shape.BINARY, mint.snp_report),
        _target("DCAP quote", dcap_quote.parse, Shape.BINARY, lambda: mint.quote(5, mint.td_body(size=648), tee=0x81), lambda: mint.quote(3, mint.sgx_body())),
        _target("collateral", _collateral, Shape.JSON, mint.collateral),
        _target("TCB info signed", _collateral, Shape.JSON, lambda: _document("tcb_info"), finish=_signed_info("tcb_info")),
        _target("QE identity signed", _collateral, Shape.JSON, lambda: _document("qe_identity"), finish=_signed_info("qe_identity")),
        _target("HCL report", hcl.parse, Shape.BINARY, lambda: mint.hcl_report(mint.snp_report(), mint.runtime_data())),
        _target("HCL runtime data", hcl.runtime, Shape.JSON, mint.runtime_data),
        _target("EAR", _read_ear, Shape.TEXT, _ear),
        _target("EAR signed", _read_ear, Shape.JSON, _claims_of_ear, finish=_signed_ear),
    ]  # fmt: skip
