"""A policy in words: what machines it asks, what it would accept, and what it would not. For people who have to sign it."""

from propolis.decisions.appraisal.policy import DEFAULT, Image, Policy
from propolis.sdk.policies import Mandate
from propolis.terms.identity import short

SHOWN = 20  # of images and keys


def told(policy: Policy) -> list[str]:
    """Return what the policy would accept, a sentence a line."""
    registers = ", ".join(map(str, policy.asked))
    lines = [
        f"policy {policy.name!r}{_default(policy)}: asks for registers {registers} of the SHA-256 bank",
        f"accepts TPMs whose maker's certificate leads to a root pinned in Propolis{_own(policy)}",
        *_approved(policy),
        *_images(policy),
        f"what is proven holds {policy.lease_seconds} s, and is renewed half-way",
    ]
    lines += ["refuses a TPM that was not shut down in good order"] if policy.strict_clock else []
    if policy.measurements == "clean":
        lines += ["refuses machines without IMA's list of measurements, or with violations in it"]
    return [*lines, rehearsal(policy)]


def rehearsal(policy: Policy) -> str:
    """Return what becomes of emulated TPMs."""
    if policy.rehearsal is None:
        return "refuses emulated TPMs: they are no hardware root"
    roots = ", ".join(root[:16] for root in policy.rehearsal.roots)
    return (
        f"REHEARSAL: accepts EMULATED TPMs endorsed under {roots}. They prove nothing; all that rests on them says EMULATED, "
        "and counts only for owners who accept that by name"
    )


def whose(mandate: Mandate) -> str:
    """Return by whose word the policy is in force, as a comment that TOML takes."""
    if not mandate.number:
        return "# the default: the operator has signed no policy, or none that this home has seen"
    return f"# number {mandate.number}, signed by the operator {short(mandate.signed_by)}"


def _default(policy: Policy) -> str:
    return " (the default)" if policy == DEFAULT else ""


def _own(policy: Policy) -> str:
    count = len(policy.certificates)
    return f", with {count} certificates of the policy's on the way" if count else ""


def _approved(policy: Policy) -> list[str]:
    if not policy.approved:
        return ["accepts no endorsement key without such a certificate: it waits (pending) until you approve it"]
    lines = [
        f"accepts endorsement key {each.ek} of a TPM by {each.maker}{f' ({each.note})' if each.note else ''}, by your word alone"
        for each in policy.approved[:SHOWN]
    ]
    return lines + _more(len(policy.approved), "keys")


def _images(policy: Policy) -> list[str]:
    if not policy.image:
        return ["knows no image: nothing is concluded of what a machine booted beyond Secure Boot"]
    return [_image(each) for each in policy.image[:SHOWN]] + _more(len(policy.image), "images")


def _image(image: Image) -> str:
    stands = {
        "lockdown": "a kernel that its owner cannot read by software",
        "keeps-no-memory": "no memory in clear on a disk",
    }
    claims = " and ".join(stands[claim] for claim in image.claims) or "nothing but itself"
    named = f"knows image {image.name!r} ({image.digest[:16]}...)"
    if image.loader:
        return f"{named} as a loader: it measures what it loads, which then is what counts"
    return f"{named}, which stands for {claims}"


def _more(count: int, what: str) -> list[str]:
    return [f"... and {count - SHOWN} more {what}"] if count > SHOWN else []
