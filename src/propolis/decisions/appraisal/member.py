"""One node's TPM evidence against a fleet's policy: what is proven of it, or the reason why nothing is.

docs/specs/attestation.md, steps 4 to 12. The orchestrator judges by it to plan, every owner by itself before a key leaves.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from propolis.crypto.tpm import attest, policy, public
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import Attribute, Handle, Tag
from propolis.crypto.tpm.public import Public
from propolis.decisions.appraisal import quote, tpm2
from propolis.decisions.appraisal.policy import MEASUREMENTS, Image, Rules
from propolis.decisions.appraisal.result import Endorsements, Facts
from propolis.decisions.appraisal.tpm_roots import Make
from propolis.decisions.capabilities.tpm import NAMES
from propolis.decisions.weaknesses import Weaknesses, concerns
from propolis.messages.attestation import Evidence as Said
from propolis.messages.envelope import Segment
from propolis.terms.calendar import Seconds
from propolis.terms.errors import Rejected
from propolis.terms.requirement import Adversary, Claim
from propolis.terms.trust import Vector

TECHNOLOGIES = ("tpm", "measured-boot")
VIRTUAL = ("vtpm",)
NO_CHIP = "an emulated TPM is no hardware root; only a rehearsal's policy takes it, under its own test root"
NO_END = 253_402_300_799  # 9999-12-31T23:59:59Z
_STORES = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.RESTRICTED | Attribute.DECRYPT
)  # fmt: skip


class Row(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What is kept of a node: its keys' Names, for good, and the clock and registers when it was seen last."""

    ek: bytes
    ak: bytes
    srk: bytes
    clock: tuple[int, int, int, bool, int]  # Clock's fields, in order
    registers: bytes = b""  # digest of those that do not move between two boots
    key: bytes = b""  # digest of the endorsement key itself: the area around it, and so its Name, is the node's word

    @property
    def serves(self) -> bytes:
        """What may be one node's only, in whatever area it is shown."""
        return self.key or self.ek

    @property
    def last(self) -> Clock:
        """The clock, typed."""
        clock, resets, restarts, safe, firmware = self.clock
        return Clock(clock=clock, resets=resets, restarts=restarts, safe=safe, firmware=firmware)

    def follows(self, other: "Row | None") -> bool:
        """Return whether this was seen later than `other`: memory that took older ones could be walked back."""
        return other is None or (self.last.resets, self.last.clock) >= (other.last.resets, other.last.clock)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence of a node: the quote, and the attestation key's word on the storage key (TPMS_ATTEST of a certification)."""

    evidence: tpm2.Evidence
    srk: bytes = b""
    srk_attest: bytes = b""
    srk_signature: bytes = b""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What is concluded. `claims` are without what only an opened credential shows; none where `pending` says why."""

    row: Row
    ek: Public
    ak: Public
    srk: Public | None
    technologies: tuple[Claim, ...]
    claims: tuple[Claim, ...]
    pending: str
    until: Seconds
    vector: Vector
    emulated: bool
    registers: dict[int, bytes]


def shown(said: Said, body: Sequence[Segment], bank: int) -> Shown:
    """Return a node's message and its logs as evidence. Raises Rejected(pcr_missing, envelope_field)."""
    if len(said.pcrs) != len(said.values) or len(set(said.pcrs)) != len(said.pcrs):
        raise Rejected("pcr_missing", "registers and values do not match")
    if len(body) != 2:
        raise Rejected("envelope_field", "evidence has two logs beside it, either may be empty")
    evidence = tpm2.Evidence(
        ak=said.ak,
        ek=said.ek,
        certificate=said.certificate,
        attest=said.attest,
        signature=said.signature,
        bank=bank,
        values=dict(zip(said.pcrs, said.values, strict=True)),
        event_log=bytes(body[0]),
        ima_list=bytes(body[1]),
    )
    return Shown(evidence=evidence, srk=said.srk, srk_attest=said.srk_attest, srk_signature=said.srk_signature)


def judge(
    shown: Shown,
    binding: bytes,
    rules: Rules,
    known: Weaknesses | None,
    now: Seconds,
    *,
    before: Row | None = None,
    leased: bool = False,
    slack: int = 0,
) -> Judged:
    """Judge what a node showed. `before`: its row; `leased`: what was concluded from it still holds, so nothing may have moved.

    `slack`: milliseconds by which the TPM's clock may lie behind the row's, where evidence comes on several ways.

    Raises Rejected with the reason of the step that failed.
    """
    if not (math.isfinite(now) and now > 0):
        raise Rejected("clock", "whoever judges does not know the time")
    evidence, asks = shown.evidence, rules.policy
    if not evidence.ek:
        raise Rejected("ek_key", "there is no endorsement key")
    ek = public.parse(evidence.ek)
    asked = quote.Asked(
        binding=binding,
        ek_name=ek.name,
        pcrs=asks.asked,
        bank=asks.bank,
        before=before.last if before is not None and leased else None,
    )
    if tpm2.emulated(attest.parse(evidence.attest).clock) and not rules.rehearses:
        raise Rejected("emulated", NO_CHIP)  # its own word, and enough for a no
    found = tpm2.examine(evidence, asked, Endorsements(), rules.roots, now)
    clock = found.quoted.clock
    if before is not None:
        quote.check_history(clock, before.last, slack)
    if asks.strict_clock and not clock.safe:
        raise Rejected("clock_unsafe", "the TPM was not shut down in good order, and the policy wants that")
    emulated = _emulated(found, rules)
    srk = _storage(shown, found.ak, binding) if shown.srk else None
    row = Row(
        ek=ek.name,
        ak=found.ak.name,
        srk=srk.name if srk is not None else b"",
        clock=msgspec.structs.astuple(clock),
        registers=_still(found.quoted.values),
        key=ek.itself,
    )
    if leased and before is not None and before.registers and before.registers != row.registers:
        raise Rejected("pcr_drift", "other software was measured than when the lease began")
    vouched, pending = _vouched(found, ek, rules)
    claims = _claims(found, vouched, rules, known, srk=srk is not None) if not pending else ()
    return Judged(
        row=row,
        ek=ek,
        ak=found.ak,
        srk=srk,
        technologies=_technologies(found),
        claims=claims,
        pending=pending,
        until=float(found.endorsed.until) if found.endorsed is not None else float(NO_END),
        vector=_vector(found, binding, claims, emulated=emulated),
        emulated=emulated,
        registers=dict(found.quoted.values),
    )


def _emulated(found: tpm2.Found, rules: Rules) -> bool:
    """Return whether the TPM is an emulator; raises Rejected(emulated) unless this is a rehearsal, by its own test root."""
    rehearsed = found.endorsed is not None and found.endorsed.root in rules.rehearsed
    if tpm2.emulated(found.quoted.clock) and not rehearsed:
        raise Rejected(
            "emulated", "an emulated TPM is no hardware root; only a rehearsal's policy takes it, under its own root"
        )
    return rehearsed


def _storage(shown: Shown, ak: Public, binding: bytes) -> Public:
    """Return the storage key, of which the attestation key says that it lives beside it. Raises Rejected: srk_*."""
    srk = public.parse(shown.srk)
    if srk.attributes & _STORES != _STORES or srk.attributes & Attribute.SIGN or srk.key is None:
        raise Rejected("srk_attrs", "not a storage key that stays in its TPM")
    said = attest.parse(shown.srk_attest)
    attest.verify(ak, shown.srk_attest, attest.parse_signature(shown.srk_signature))
    if said.kind != Tag.ATTEST_CERTIFY or said.certified != srk.name or said.extra != binding:
        raise Rejected("srk_binding", "the attestation key does not vouch for this storage key, here and now")
    if said.place != public.qualified(srk, hierarchy=Handle.OWNER):
        raise Rejected("srk_binding", "the storage key's home is not the owner's hierarchy")
    return srk


def _still(values: Mapping[int, bytes]) -> bytes:
    return policy.pcr_digest({pcr: value for pcr, value in values.items() if pcr != MEASUREMENTS})


def _vouched(found: tpm2.Found, ek: Public, rules: Rules) -> tuple[str, str]:
    """Return (claim, "") for who stands behind the endorsement key, or ("", why it waits for the operator) (step 4)."""
    if found.endorsed is not None:
        return "endorsed", ""
    if ek.name.hex() in rules.approved:
        return "approved", ""
    return "", (
        f"endorsement key {ek.name.hex()} has no maker's certificate; it counts once the operator vouches for it: "
        "propolis fleet policy approve NODE"
    )


def _technologies(found: tpm2.Found) -> tuple[Claim, ...]:
    maker = found.endorsed.maker if found.endorsed is not None else None
    return VIRTUAL if maker is not None and maker.make is Make.VIRTUAL else TECHNOLOGIES


def _claims(
    found: tpm2.Found, vouched: Claim, rules: Rules, known: Weaknesses | None, *, srk: bool
) -> tuple[Claim, ...]:
    claims = {vouched}
    if _sound(found, rules, known):
        claims.add("firmware-not-known-bad")
    if srk:
        claims.add("sealed-to-policy")
    if rules.policy.measurements == "clean":
        if not found.measured or found.violations:  # a list of which the quote covers nothing is none
            raise Rejected("ima_violation", "the list of measurements is missing, or has violations")
        claims.add("measurements-clean")
    boot = found.boot
    if boot is not None and boot.secure_boot is True:
        claims.add("secure-boot")
    if boot is not None:
        claims.update(_loaded([rules.images.get(digest.hex()) for digest in boot.applications]))
    return tuple(sorted(claims))


def _loaded(found: list[Image | None]) -> set[Claim]:
    """Return what is concluded of what was loaded: all of it is known, and what all that stays of it stands for (step 12)."""
    known = [image for image in found if image is not None]
    stays = [image for image in known if not image.loader]
    if len(known) != len(found) or not stays:
        return set()
    stated: set[Claim] = {"lockdown", "keeps-no-memory"}
    return {"known-image"} | stated.intersection(*(image.claims for image in stays))


def _sound(found: tpm2.Found, rules: Rules, known: Weaknesses | None) -> bool:
    """Return whether the firmware is certainly none of those that give keys away to software; too little known is no."""
    if known is None:
        return False
    if found.endorsed is not None:
        maker = found.endorsed.manufacturer
    else:
        maker = rules.approved[found.ek.name.hex()].maker if found.ek is not None else ""
    word = found.quoted.clock.firmware
    firmware = tuple(word >> shift & 0xFFFF for shift in (48, 32, 16, 0))
    early = [each for each in known.weakness if each.by < Adversary.CHEAP_PHYSICAL]
    return maker in NAMES and all(concerns(each, maker, firmware, None) is False for each in early)


def _vector(found: tpm2.Found, binding: bytes, claims: tuple[Claim, ...], *, emulated: bool) -> Vector:
    """Return the AR4SI vector as it stands once the credential was opened. Of an emulated TPM nobody affirms what it is."""
    fact: Facts = tpm2.facts(found, binding)
    vouched = not emulated and ("endorsed" in claims or "approved" in claims)
    return tpm2.vector(fact, {"endorsed": vouched, "resident-key": vouched}, known="known-image" in claims)
