"""Messages of attestation (docs/specs/attestation.md): what a verifier asks of a node, what the node shows, what is concluded."""

from typing import Annotated

import msgspec

from propolis.terms.credential import Moment
from propolis.terms.evidence import NOTHING, Proven

Nonce = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Area = Annotated[bytes, msgspec.Meta(max_length=1024)]
Wrapped = Annotated[bytes, msgspec.Meta(max_length=1024)]
Register = Annotated[int, msgspec.Meta(ge=0, le=23)]
Bank = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]
MAX_LOGS = 4 * 1024 * 1024  # bytes of one log in a message's body
MAX_EVIDENCE = 1024 * 1024  # bytes of all that vouches for one guest
MAX_EVIDENCE_WAITING = 8 * MAX_EVIDENCE  # of one node's guests, while their owners have not answered
KINDS = ("software-key/1", "tpm2-quote/1")


class _Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    pass


class Challenge(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="challenge"):
    """Verifier -> node: quote these registers of one bank, bound to this nonce. Answered by Evidence."""

    nonce: Nonce
    pcrs: Annotated[tuple[Register, ...], msgspec.Meta(max_length=24)]
    bank: Bank


class Evidence(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="evidence"):
    """Node -> verifier. Body: the firmware's log and IMA's list, either may be empty. `kind`: one of KINDS.

    `values` are the registers' in the order of `pcrs`. Of a node without hardware to show all is empty but kind and nonce.
    """

    nonce: Nonce
    kind: Annotated[str, msgspec.Meta(max_length=40)]
    ek: Area = b""
    certificate: Annotated[bytes, msgspec.Meta(max_length=16 * 1024)] = b""
    ak: Area = b""
    srk: Area = b""
    srk_attest: Area = b""  # the attestation key's word that the storage key lives beside it
    srk_signature: Area = b""
    attest: Annotated[bytes, msgspec.Meta(max_length=4096)] = b""
    signature: Area = b""
    pcrs: Annotated[tuple[Register, ...], msgspec.Meta(max_length=24)] = ()
    values: Annotated[tuple[Annotated[bytes, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=24)] = ()
    reason: Reason = ""  # why there is nothing to show, where the chip failed


class Activate(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="activate"):
    """Verifier -> node: open this credential, made for its endorsement and attestation key. Answered by Activated."""

    nonce: Nonce  # of the challenge it belongs to
    blob: Wrapped
    secret: Wrapped


class Activated(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="activated"):
    """Node -> verifier: that it opened (crypto/tpm/bound.py, `activated`); empty where it did not."""

    nonce: Nonce
    proof: Annotated[bytes, msgspec.Meta(max_length=64)]


class Appraised(_Record, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True, tag="appraised"):
    """Verifier -> node: the result, signed (crypto/ear.py), and until when; or the reason code why there is none."""

    ear: Annotated[str, msgspec.Meta(max_length=16 * 1024)] = ""
    until: Moment = 0
    proven: Annotated[Proven, msgspec.Meta(max_length=8)] = NOTHING  # the same, as the orchestrator places by it
    reason: Reason = ""


AttestationMessage = Challenge | Evidence | Activate | Activated | Appraised
