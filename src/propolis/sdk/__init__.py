"""The Python SDK: the CLI's verbs, typed. `with Fleet() as fleet: fleet.map(f, xs, privacy="trusted-lenders")`."""

from propolis.sdk.fleet import Explanation, Fleet
from propolis.sdk.job import Job
from propolis.sdk.vault import Vault

__all__ = ["Explanation", "Fleet", "Job", "Vault"]
