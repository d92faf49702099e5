"""Which types of evidence this house takes, by name. A new technology is a line here (evidence.md, V1).

A type goes by its name, or by name and version of its envelope: "snp-report", "snp-report/1".
"""

from collections.abc import Callable

import msgspec

from propolis.decisions.appraisal import azure, cca, envelope, nitro, parsec, psa, sgx, snp, tdx, tpm2, tpm2_bundle
from propolis.decisions.appraisal.envelope import Unwrapped
from propolis.decisions.appraisal.result import Appraise, Verify
from propolis.terms.errors import Rejected


class Technology(msgspec.Struct, frozen=True):
    """How one type of evidence is unwrapped, verified and appraised; `versions` of its envelope."""

    unwrap: Callable[[bytes, str], Unwrapped]
    verify: Verify
    appraise: Appraise
    versions: tuple[str, ...] = ("1",)


KNOWN: dict[str, Technology] = {
    "snp-report": Technology(envelope.octets, snp.verify, snp.appraise),
    "tdx-quote": Technology(envelope.octets, tdx.verify, tdx.appraise),
    "sgx-quote": Technology(envelope.octets, sgx.verify, sgx.appraise),
    "azcvm": Technology(envelope.document, azure.verify, azure.appraise),
    "psa-token": Technology(envelope.octets, psa.verify, psa.appraise, ("1", "2")),
    "cca-token": Technology(envelope.octets, cca.verify, cca.appraise),
    "nitro-doc": Technology(envelope.octets, nitro.verify, nitro.appraise),
    "tpm2-quote": Technology(tpm2_bundle.unwrap, tpm2.verify, tpm2.appraise),
    "parsec-tpm": Technology(envelope.document, parsec.verify, parsec.appraise),
}


def find(name: str) -> tuple[str, Technology]:
    """Return a type's bare name and technology. Raises Rejected(envelope_type)."""
    bare, _, version = name.partition("/")
    found = KNOWN.get(bare)
    if found is None or ("/" in name and version not in found.versions):
        raise Rejected("envelope_type", f"no type of evidence is called that; there are {', '.join(sorted(KNOWN))}")
    return bare, found
