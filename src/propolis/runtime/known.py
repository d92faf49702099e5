"""Reads what is known of technologies from the table that ships with the package, for today. Assemblies hand it to parties."""

from datetime import UTC, datetime
from importlib import resources

from propolis.decisions.guarantees import Known, read_table
from propolis.decisions.weaknesses import Weaknesses, read_weaknesses
from propolis.terms.evidence import NOTHING, Proven


def table_bytes() -> bytes:
    """Return the table's bytes."""
    return resources.files("propolis.decisions").joinpath("data/guarantees.toml").read_bytes()


def known_today() -> Known:
    """Return the table and today's date (UTC). Raises ConfigError."""
    return Known(
        table=read_table(table_bytes()), date=datetime.now(UTC).date().isoformat(), weaknesses=known_weaknesses()
    )


def known_weaknesses() -> Weaknesses:
    """Return the TPMs known to be bad. Raises ConfigError."""
    return read_weaknesses(resources.files("propolis.decisions").joinpath("data/tpm.toml").read_bytes())


def proven_here() -> Proven:
    """Return what a verifier concluded of this machine. Here attestation results plug in; nothing verifies evidence yet."""
    return NOTHING
