"""A TPM quote against what was asked: signature, freshness, selection, values, clock (docs/specs/attestation.md, steps 5 to 9).

Indices and banks are taken from what the TPM signed, never from what came beside it: root can extend good digests into
unused registers and claim them for the real ones.
"""

from collections.abc import Mapping

import msgspec

from propolis.crypto.tpm import attest, policy
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import Alg, Attribute, Handle, Tag
from propolis.crypto.tpm.kdf import digest_size
from propolis.crypto.tpm.public import Public, qualified
from propolis.terms.errors import Rejected

_MUST = (
    Attribute.FIXED_TPM
    | Attribute.FIXED_PARENT
    | Attribute.SENSITIVE_DATA_ORIGIN
    | Attribute.RESTRICTED
    | Attribute.SIGN
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a quote has to be about: the binding value, the registers of one bank, and the clock seen last (None: never).

    `ek_name`: Name of the endorsement key, for attestation keys that are its children. `home`: demand that the key's home is
    shown; others' evidence may lack what shows it.
    """

    binding: bytes
    ek_name: bytes = b""
    home: bool = True
    pcrs: tuple[int, ...]
    bank: int = Alg.SHA256
    before: Clock | None = None


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote that holds: the registers' values, and the TPM's clock, which means something only where `home` is shown."""

    home: bool
    values: Mapping[int, bytes]
    clock: Clock


def check_key(ak: Public) -> None:
    """Step 6: a key that signs only what the TPM made, and never leaves it. Raises Rejected(ak_attrs).

    Attributes count only together with an activated credential: anybody can write them into a public area.
    """
    if ak.attributes & _MUST != _MUST or ak.attributes & Attribute.DECRYPT:
        raise Rejected("ak_attrs", "the attestation key is not restricted to what its TPM made")
    if ak.name_alg not in attest.GOOD_HASHES or ak.scheme == Alg.NULL or ak.scheme_hash not in attest.GOOD_HASHES:
        raise Rejected("ak_attrs", "the attestation key names no strong hash")


def verify(ak: Public, attested: bytes, signature: bytes, values: Mapping[int, bytes], asked: Asked) -> Quote:
    """Check one quote. Raises Rejected with the reason of the step that failed."""
    check_key(ak)
    said = attest.parse(attested)
    signed = attest.parse_signature(signature)
    attest.verify(ak, attested, signed)
    if said.kind != Tag.ATTEST_QUOTE:
        raise Rejected("attest_type", "an attestation of something else where a quote belongs")
    home = said.signer in _homes(ak, asked.ek_name)
    if asked.home and not home:
        raise Rejected("ak_hierarchy", "the attestation key's home is not the endorsement hierarchy")
    if said.extra != asked.binding:
        raise Rejected("nonce", "the quote is bound to something else: another nonce, key, channel, node or purpose")
    _check_selection(said, asked)
    _check_values(said.digest, values, asked, signed.hash_alg)
    check_clock(said.clock, asked.before)
    return Quote(home=home, values=dict(values), clock=said.clock)


def _homes(ak: Public, ek_name: bytes) -> set[bytes]:
    """Return the Qualified Names that put the key into the endorsement hierarchy: itself a primary, or the EK's child.

    In another hierarchy a TPM shows obfuscated counts, and neither reset nor firmware could be told (Part 1, 36.7).
    """
    homes = {qualified(ak, hierarchy=Handle.ENDORSEMENT)}
    return homes | {qualified(ak, ek_name, hierarchy=Handle.ENDORSEMENT)} if ek_name else homes


def _check_selection(said: attest.Attested, asked: Asked) -> None:
    wanted = attest.Selection(asked.bank, tuple(sorted(asked.pcrs)))
    found = tuple(selection for selection in said.selections if selection.pcrs)
    if found != (wanted,):
        raise Rejected("pcr_select", f"the TPM signed {_told(found)}, asked was {_told((wanted,))}")


def _told(selections: tuple[attest.Selection, ...]) -> str:
    return "; ".join(f"bank {s.bank:#06x} PCR {','.join(map(str, s.pcrs))}" for s in selections)[:200] or "no register"


def _check_values(digest: bytes, values: Mapping[int, bytes], asked: Asked, alg: int) -> None:
    if set(values) != set(asked.pcrs):
        raise Rejected("pcr_missing", "the values are not of the registers that were asked for")
    size = digest_size(asked.bank)
    if any(len(value) != size for value in values.values()):
        raise Rejected("pcr_len", "a register's value is of another size than its bank's")
    if policy.pcr_digest(values, alg) != digest:
        raise Rejected("pcr_digest", "the values do not hash to what the TPM signed")


def check_history(now: Clock, before: Clock, slack: int = 0) -> None:
    """Step 9, across boots: counts only go up. Raises Rejected(clock_rollback): an old state of a virtual TPM was restored.

    `slack`: milliseconds by which evidence may have been overtaken on its way.
    """
    if now.resets < before.resets or (now.resets == before.resets and now.clock + slack < before.clock):
        raise Rejected("clock_rollback", "the TPM's clock or counts went back: an old state was restored")
    if now.resets == before.resets and now.restarts < before.restarts:
        raise Rejected("clock_rollback", "the TPM's count of restarts went back")


def check_clock(now: Clock, before: Clock | None) -> None:
    """Step 9: nothing was reset, set back or exchanged since. Raises Rejected: firmware, clock_rollback, reset."""
    if before is None:
        return
    if now.firmware != before.firmware:
        raise Rejected("firmware", "the TPM runs other firmware than before")
    check_history(now, before)
    if now.resets != before.resets:
        raise Rejected("reset", "the machine was reset since")
