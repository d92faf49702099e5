"""Who this machine's TPM is, and what its fleet concluded of it: `propolis attest --identity` and `--result`.

The identity is the machine's own word, for two people to compare; the result is the fleet's, held against the fleet's key.
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from propolis.adapters.keyhome.file import FileKeyHome
from propolis.crypto import ear, names, x509
from propolis.crypto.tpm import public
from propolis.ports.attester import Identity
from propolis.runtime import results
from propolis.terms.calendar import Seconds
from propolis.terms.errors import ConfigError, DataError, Rejected
from propolis.terms.identity import NodeId
from propolis.terms.trust import CLAIMS

Record = dict[str, Any]


def node_of(home: Path) -> NodeId | None:
    """Return the key of the node in a node's home; None where there is none, and none is made."""
    path = home / "identity"
    try:
        return FileKeyHome(path).identity if path.is_file() else None
    except (ConfigError, OSError):
        return None


def identity(found: Identity) -> Record:
    """Return who a TPM says it is. Raises DataError: its endorsement key is none."""
    try:
        ek = public.parse(found.ek).name.hex()
    except Rejected as error:
        raise DataError(f"the TPM's endorsement key is not understood: {error}") from error
    return {
        "endorsement_key": ek,
        "maker": found.manufacturer.strip("\x00 "),
        "emulated": found.emulated,
        "certificate": _certificate(found.certificate) if found.certificate else None,
    }


def emulated_words(*, emulated: bool) -> str:
    """Return what a TPM's own word on this is worth."""
    return "YES: it proves nothing, and counts in a rehearsal alone" if emulated else "not by its own word"


def identity_words(record: Record) -> list[tuple[str, str]]:
    """Return what an identity says beside its key, for people to compare with what the operator sees."""
    certificate = record["certificate"]
    lines = [
        ("maker", record["maker"] or "not said"),
        ("emulated", emulated_words(emulated=record["emulated"])),
    ]
    if certificate is None:
        what = "the operator has to vouch for this key: propolis fleet policy approve NODE"
        none = "an emulated TPM counts under a test root alone" if record["emulated"] else what
        return [*lines, ("certificate", f"none: {none}")]
    return [*lines, *((f"certificate's {name}", text or "nobody is named") for name, text in certificate.items())]


def _certificate(data: bytes) -> Record:
    try:
        read = x509.parse(data)
    except Rejected as error:
        return {"subject": f"not understood: {error}", "issuer": ""}
    return {"subject": names.told(read.subject), "issuer": names.told(read.issuer)}


def result(home: Path, now: Seconds | None = None) -> Record:
    """Return the newest result of a node's home, and whether it counts. Raises ConfigError: there is none."""
    when = time.time() if now is None else now
    found = results.kept(home, node_of(home), when)
    if found is None:
        raise ConfigError(
            f"{home} has no result of its fleet",
            hint="propolis node start shows the fleet what this machine's TPM attests, and says what comes of it",
        )
    record: Record = {"counts": not found.reject_code, "reject_code": found.reject_code or None, "reason": found.reason}
    if found.result is not None:
        record |= _said(found.result, when)
    return {**record, "ear": found.text}


def _said(read: ear.Result, now: Seconds) -> Record:
    appraisal = read.submods[ear.SUBMODULE]
    return {
        "node": read.node,
        "status": str(appraisal.status),
        "trust_vector": dict(zip(CLAIMS, map(int, msgspec.structs.astuple(appraisal.vector)), strict=True)),
        "claims": list(appraisal.claims),
        "technologies": list(appraisal.technologies),
        "emulated": appraisal.emulated,
        "policies": list(appraisal.policies),
        "issued": read.iat,
        "expires": read.exp,
        "expired": now >= read.exp,
        "seconds_left": max(0, int(read.exp - now)),
    }


def result_words(record: Record) -> list[tuple[str, str]]:
    """Return a result for people: whether it counts first."""
    lines = [
        (
            "counts",
            "yes: signed by the fleet, of this node, not expired" if record["counts"] else f"NO: {record['reason']}",
        )
    ]
    if "status" not in record:
        return lines
    if record["emulated"]:
        lines.append(("emulated", "EMULATED TPM: a rehearsal, it proves nothing"))
    vector = ", ".join(f"{name} {value}" for name, value in record["trust_vector"].items() if value)
    until = "expired" if record["expired"] else f"{record['seconds_left']} s left"
    return [
        *lines,
        ("status", record["status"]),
        ("claims", ", ".join(record["claims"]) or "none"),
        ("trust vector", vector or "no claim"),
        ("policy", ", ".join(record["policies"])),
        ("lease", f"{until}; renewed half-way while the node runs"),
    ]
