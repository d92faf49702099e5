"""Reads what is known of technologies from the table that ships with the package, for today, and what is proven of this machine.

Assemblies hand both to parties.
"""

import time
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from propolis.decisions.guarantees import Known, read_table
from propolis.decisions.weaknesses import Weaknesses, read_weaknesses
from propolis.runtime import results
from propolis.terms.errors import ConfigError
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import NodeId


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


def proven_here(home: Path, node: NodeId | None) -> Proven:
    """Return what the fleet concluded of this machine, from the result its node keeps; nothing where anything is off.

    `home`: the node's; `node`: the key that is in there.
    """
    try:
        return results.proven(results.kept(home, node, time.time()))
    except ConfigError:
        return NOTHING
