"""How conclusions are told to people: what is proven in few letters, and who can do what about what is not.

What rests on an emulated TPM says EMULATED first, wherever it is told (docs/specs/attestation.md, Kinds of evidence).
"""

from propolis.terms.evidence import Proven, emulated

_NAMES = {"tpm": "tpm", "vtpm": "virtual tpm"}
_BOOTED = {"secure-boot", "known-image"}  # a quote alone says nothing of what was booted
NO_EVIDENCE = "software-key: shows no evidence of its machine"
ASKED = "asked: its evidence is not judged yet"
UNKNOWN = "docs/specs/attestation.md says what this reason means"
REHEARSE = "--i-rehearse-with-emulated-tpms"

WAYS = {
    "software-key": "lender: start the node without --no-tpm, as a user who may use the TPM (propolis doctor says whether)",
    "asked": "nothing to do: it is asked anew by itself",
    "pending": "operator: compare the key with propolis attest --identity over there, then propolis fleet policy approve NODE",
    "emulated": "operator: only a policy with [rehearsal] counts it (propolis fleet policy set); lender: a machine with a TPM",
    "ek_root": "operator: add its maker's certificates to the policy (certificates), if they lead to a root that Propolis pins",
    "ek_chain": "operator: add its maker's certificates to the policy (certificates), if they lead to a root that Propolis pins",
    "ek_expired": "lender: its maker's certificate is over, or this computer's clock is wrong",
    "identity": "lender: one TPM is one member: start the node that it was first, with that node's home",
    "ak_binding": "lender: its keys are not of one TPM; nothing but another machine helps",
    "clock": "lender and operator: set the computers' clocks",
    "clock_unsafe": "lender: shut the machine down in good order once, then start the node",
    "clock_rollback": "lender: its TPM went back in time, as a restored virtual machine's does; look who runs it",
    "reset": "nothing to do where the machine was restarted: it is asked anew by itself",
    "firmware": "nothing to do where its firmware was updated: it is asked anew by itself",
    "pcr_drift": "nothing to do where the machine was restarted: it is asked anew by itself; else look at what was loaded",
    "ima_violation": "lender: start the machine anew, with IMA's list readable: the policy wants one without violations",
    "roca": "lender: update the TPM's firmware, its keys can be computed (CVE-2017-15361)",
    "policy": "nothing to do: the fleet's policy changed, and it is asked anew by itself",
    "expired": "nothing to do where it comes back: it is asked anew by itself",
    "silent": "lender: see whether the TPM answers: propolis attest --identity",
    "busy": "nothing to do: it is asked again in a minute, as more waits to be judged than the orchestrator keeps",
    "malfunction": "lender: see whether the TPM answers: propolis attest --identity",
    "no_evidence": "lender: see whether the TPM answers: propolis attest --identity",
    "envelope_type": "lender: see whether the TPM answers: propolis attest --identity",
}


def proven_words(proven: Proven) -> str:
    """Return what is proven in few letters, like "tpm, measured boot", "EMULATED tpm", "nothing"."""
    if not proven:
        return "nothing"
    words = []
    for each in proven:
        if each.technology == "measured-boot":
            words += ["measured boot"] if _BOOTED & set(each.claims) else []
        else:
            approved = " (approved)" if "approved" in each.claims else ""
            words.append(f"{_NAMES.get(each.technology, each.technology)}{approved}")
    return f"{'EMULATED ' if emulated(proven) else ''}{', '.join(dict.fromkeys(words)) or 'nothing'}"


def code(reason: str) -> str:
    """Return the stable code that a reason begins with."""
    return reason.partition(":")[0].strip()


def way(reason: str) -> str:
    """Return who can do what about a reason."""
    return WAYS.get(code(reason), UNKNOWN)
