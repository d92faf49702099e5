"""What is inside a sealed program: an ONNX model, or a Python function as source. Both are data until a guest opens them."""

import msgspec

from propolis.terms.job import Kind


class Program(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The owner's program. `entry` names the function; `packages` are imported before the guest takes tasks."""

    kind: Kind
    model: bytes = b""
    source: str = ""
    entry: str = ""
    packages: tuple[str, ...] = ()
