"""A message sealed to one machine's TPM, as it travels (crypto/tpm/bound.py makes and opens it)."""

from typing import Annotated

import msgspec

MAX_BOUND = 4096  # bytes of all of it, encoded
Part = Annotated[bytes, msgspec.Meta(max_length=1024)]


class Bound(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What travels: a credential, an object to import (TPMT_PUBLIC, duplicate, seed) with the registers of its policy, and
    the message under the key that both lead to."""

    credential: Part
    secret: Part
    area: Part
    duplicate: Part
    seed: Part
    pcrs: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=23)], ...], msgspec.Meta(max_length=24)]
    sealed: Part
