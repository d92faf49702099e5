"""Verification of other evidence, each minted under makers of our own, with collateral and chains in memory."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.attestation.minting import mint
from propolis.decisions.appraisal import registry

P384 = ec.SECP384R1


def _evidence() -> dict[str, tuple]:
    """Return, by row: type, bytes, endorsements, roots."""
    tdx, sgx = mint.endorsements(documents=[mint.collateral("TDX")]), mint.endorsements(documents=[mint.collateral()])
    return {
        "snp": ("snp-report", mint.snp_report(), *mint.snp()),
        "tdx": ("tdx-quote", mint.quote(4, mint.td_body(), tee=0x81), tdx, mint.intel_roots()),
        "sgx": ("sgx-quote", mint.quote(3, mint.sgx_body()), sgx, mint.intel_roots()),
        "psa": ("psa-token", mint.psa(), mint.endorsements(), mint.roots(keys=[mint.key("iak")])),
        "cca": ("cca-token", mint.cca(), mint.endorsements(), mint.roots(keys=[mint.key("cpak", P384)])),
        "nitro": ("nitro-doc", mint.nitro(), mint.endorsements(), mint.roots(mint.aws()[0])),
    }


def contenders() -> dict[str, Callable[[], object]]:
    """Return one verification of each; that it holds is seen to first."""
    found: dict[str, Callable[[], object]] = {}
    for name, (kind, data, endorsements, roots) in _evidence().items():
        verify = registry.KNOWN[kind].verify
        assert verify(data, endorsements, mint.NONCE, roots, mint.NOW).fresh

        def run(verify=verify, data=data, endorsements=endorsements, roots=roots) -> object:
            return verify(data, endorsements, mint.NONCE, roots, mint.NOW)

        found[name] = run
    return found
