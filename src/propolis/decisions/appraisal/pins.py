"""The makers' roots that this release trusts by itself, as SHA-256 of their keys (evidence.md, P1).

Each was computed from the certificate its maker publishes (AMD: kdsintf.amd.com, cert_chain of the product; Intel:
certificates.trustedservices.intel.com; AWS: aws-nitro-enclaves.amazonaws.com). The certificates come with evidence.
"""

from propolis.crypto.paths import Roots
from propolis.decisions.appraisal import tpm_roots

PINS = {
    "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9": "AMD ARK-Milan",
    "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831": "AMD ARK-Genoa",
    "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08": "AMD ARK-Turin",
    "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e": "Intel SGX Root CA",
    "f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225": "AWS Nitro Enclaves Root G1",
}


def makers() -> Roots:
    """Return the roots of this release."""
    return Roots(pins=frozenset((*PINS, *tpm_roots.ROOTS)))
