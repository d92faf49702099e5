"""What is inside a sealed program: an ONNX model, or a Python function as source. Both are data until a guest opens them."""

from typing import Annotated

import msgspec

from propolis.terms.job import MAX_PROGRAM_BYTES, Kind, Packages


class Program(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The owner's program. `entry` names the function; `packages` are imported before the guest takes tasks."""

    kind: Kind
    model: Annotated[bytes, msgspec.Meta(max_length=MAX_PROGRAM_BYTES)] = b""
    source: Annotated[str, msgspec.Meta(max_length=MAX_PROGRAM_BYTES)] = ""
    entry: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    packages: Packages = ()
