"""The keys of a node in its TPM: endorsement, attestation, storage. Made from templates, so nothing has to be kept of them.

A primary key comes out of its hierarchy's seed and template each time the same; where its maker or an earlier start left it
at a fixed handle it is taken from there, after a look whether it is that key: RSA keys take seconds on real chips.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec

from propolis.adapters.tpm import storage
from propolis.adapters.tpm.client import ENDORSEMENT, OWNER, Key, Tpm
from propolis.adapters.tpm.engine import Entity
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Handle
from propolis.terms.errors import Rejected, TpmError

Lent = AbstractContextManager[Key]
STORAGE = 0x81000001  # the handle TCG reserves for it
NO_OBJECT = 0x18B  # TPM_RC_HANDLE, first handle
MANUFACTURER, VENDOR, FIRMWARE_ONE = 0x105, 0x106, 0x10B  # TPM_PT
EMULATED = "IBM"


class Maker(msgspec.Struct, frozen=True, kw_only=True):
    """What a TPM says of itself: self-told, worth what its endorsement is worth. `emulated` = it says that it is no chip."""

    manufacturer: str
    vendor: str
    firmware: int
    emulated: bool


def maker(tpm: Tpm) -> Maker:
    """Return who made the TPM. Raises TpmError."""
    name = _text(tpm.property(MANUFACTURER))
    vendor = "".join(_text(tpm.property(VENDOR + n)) for n in range(4)).strip()
    return Maker(
        manufacturer=name,
        vendor=vendor,
        firmware=tpm.property(FIRMWARE_ONE) << 32 | tpm.property(FIRMWARE_ONE + 1),
        emulated=tpm.emulated or name.strip("\x00 ") == EMULATED,
    )


def _text(value: int) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "" for byte in value.to_bytes(4, "big"))


class Endorsement(msgspec.Struct, frozen=True, kw_only=True):
    """Which endorsement key this TPM has a certificate for; `certificate` is DER, empty where the maker left none."""

    template: bytes
    handle: int
    certificate: bytes


def endorsement(tpm: Tpm) -> Endorsement:
    """Return the endorsement key to use: one with a certificate, P-256 before RSA; P-256 where there is none."""
    choices = (
        (public.ek_ecc(), Handle.EK_ECC, Handle.CERT_ECC),
        (public.ek_rsa(), Handle.EK_RSA, Handle.CERT_RSA),
    )
    for template, handle, index in choices:
        certificate = storage.certificate(tpm, index)
        if certificate:
            return Endorsement(template=template, handle=handle, certificate=certificate)
    return Endorsement(template=choices[0][0], handle=choices[0][1], certificate=b"")


@contextmanager
def at(tpm: Tpm, hierarchy: Entity, template: bytes, handle: int) -> Iterator[Key]:
    """Lend a primary key: from its handle if the one there is of this template, else made afresh. Raises TpmError."""
    found = _persistent(tpm, handle, template)
    if found is not None:
        yield found
        return
    with tpm.primary(hierarchy, template) as made:
        yield made


def _persistent(tpm: Tpm, handle: int, template: bytes) -> Key | None:
    try:
        found = tpm.read_public(handle)
    except Rejected:
        return None  # something we cannot even read
    except TpmError as error:
        if error.response & 0xFFF == NO_OBJECT:
            return None
        raise
    return found if public.stem(found.public.raw) == public.stem(template) else None


def endorsement_key(tpm: Tpm, chosen: Endorsement) -> Lent:
    """Lend the endorsement key."""
    return at(tpm, ENDORSEMENT, chosen.template, chosen.handle)


def attestation_key(tpm: Tpm) -> Lent:
    """Lend the attestation key: a primary of the endorsement hierarchy, the same after every boot and TPM2_Clear."""
    return tpm.primary(ENDORSEMENT, public.ak_ecc())


def storage_key(tpm: Tpm) -> Lent:
    """Lend the storage key: a primary of the owner's hierarchy, another one after TPM2_Clear."""
    return at(tpm, OWNER, public.srk_ecc(), STORAGE)
