"""The appraisal policy of a fleet: a small text that its operator signs (docs/specs/attestation.md, Policy).

It says which registers are asked for, which images are known and what each stands for, and which endorsement keys without a
maker's certificate the operator vouches for. A text that is not understood in whole is refused in whole.
"""

import re
from typing import Annotated, Literal

import msgspec

from propolis.crypto import x509
from propolis.crypto.paths import Roots
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal.tpm_roots import ROOTS
from propolis.terms.errors import ConfigError, Rejected

MAX_TEXT = 256 * 1024  # bytes
LEAST_LEASE, MOST_LEASE = 30, 3600
MEASUREMENTS = 10  # the register of IMA's list

_DEEP = re.compile(rb"""(?:(?:[\w-]{1,64}|"(?:[^"\\\n]|\\.){0,64}"|'[^'\n]{0,64}')[ \t]*\.[ \t]*){8}""")

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
KeyName = Annotated[str, msgspec.Meta(pattern="^000[bc][0-9a-f]{64,96}$", max_length=100)]
Register = Annotated[int, msgspec.Meta(ge=0, le=23)]
Certificates = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=24_000)], ...], msgspec.Meta(max_length=64)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the text."""


class Image(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A boot loader or kernel by its measurement (Authenticode SHA-256), and what booting it stands for.

    `lockdown`: a locked image, in which nothing runs that is not in it (verity or IMA appraisal), nobody has a shell, no process
    reads another's memory, and the kernel is in lockdown=confidentiality; a general-purpose kernel in lockdown alone is none: its
    root reads any process. `keeps-no-memory`: it has no swap and no hibernation, or both are encrypted with keys lost at
    power-off. A claim counts where everything loaded states it but loaders, which measure what they load and hand over: root can
    extend the digest of a better kernel after the boot, so the last one tells nothing.
    """

    digest: Digest
    name: Text
    claims: Annotated[tuple[Literal["lockdown", "keeps-no-memory"], ...], msgspec.Meta(max_length=2)] = ()
    loader: bool = False  # like shim or GRUB: it measures what it loads, and does not stay


class Approved(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endorsement key the operator vouches for, by its Name in hex; `maker` as the TPM says, like AMD, INTC or IFX."""

    ek: KeyName
    maker: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{2,4}$", max_length=4)]
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Rehearsal(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Emulated TPMs count, and everything that rests on them says so. `roots`: pins of the test roots that endorse them."""

    i_know_that_an_emulated_tpm_proves_nothing: Literal[True]
    roots: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=8)]


class Policy(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it; an empty text is the default."""

    name: Text = "default"
    pcrs: Annotated[tuple[Register, ...], msgspec.Meta(min_length=1, max_length=24)] = (0, 1, 2, 3, 4, 5, 6, 7)
    lease_seconds: Annotated[int, msgspec.Meta(ge=LEAST_LEASE, le=MOST_LEASE)] = 600
    strict_clock: bool = False  # refuse a TPM that was not shut down in good order
    measurements: Literal["ignored", "clean"] = "ignored"  # "clean": IMA's list is asked for, and has no violation
    image: Annotated[tuple[Image, ...], msgspec.Meta(max_length=1000)] = ()
    approved: Annotated[tuple[Approved, ...], msgspec.Meta(max_length=1000)] = ()
    certificates: Certificates = ()  # PEM: roots and intermediates of TPM makers; trusted only up to a pinned root
    rehearsal: Rehearsal | None = None

    @property
    def asked(self) -> tuple[int, ...]:
        """The registers that are asked for, in order."""
        more = (MEASUREMENTS,) if self.measurements == "clean" else ()
        return tuple(sorted({*self.pcrs, *more}))

    @property
    def bank(self) -> int:
        """Their bank."""
        return int(Alg.SHA256)


DEFAULT = Policy()


class Rules:
    """A policy made ready to judge by."""

    def __init__(self, policy: Policy, *, rehearse: bool = True) -> None:
        """`rehearse` False: whoever judges does not accept rehearsals, whatever the policy says. Raises ConfigError."""
        self.policy = policy
        self.images = {image.digest: image for image in policy.image}
        self.approved = {each.ek: each for each in policy.approved}
        self.rehearsed = frozenset(policy.rehearsal.roots) if policy.rehearsal is not None and rehearse else frozenset()
        try:
            found = tuple(each for text in policy.certificates for each in x509.read_all(text.encode()))
        except Rejected as error:
            raise ConfigError(f"the policy's certificates: {error}") from error
        self.roots = Roots(pins=frozenset(ROOTS) | self.rehearsed, certificates=found)

    @property
    def rehearses(self) -> bool:
        """Whether emulated TPMs count."""
        return bool(self.rehearsed)


def read(text: bytes) -> Policy:
    """Return the policy in TOML bytes. Raises ConfigError naming what is wrong: nothing of it counts then."""
    if len(text) > MAX_TEXT:
        raise ConfigError(f"a policy of {len(text)} bytes, at most {MAX_TEXT} are read")
    if _DEEP.search(text):  # Python's reader takes memory by the square of a key's parts: 256 KiB would take 60 GB
        raise ConfigError("the policy: a key of more than eight parts, and it has none of more than two")
    try:
        policy = msgspec.toml.decode(text, type=Policy)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the policy: {error}", hint="docs/specs/attestation.md, Policy, says what it may hold"
        ) from error
    for what, names in (
        ("image", [i.digest for i in policy.image]),
        ("endorsement key", [a.ek for a in policy.approved]),
    ):
        if len(set(names)) != len(names):
            raise ConfigError(f"the policy names an {what} twice")
    Rules(policy)
    return policy
