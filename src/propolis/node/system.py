"""Where a node can run, asked before anything that only Linux has is imported."""

import sys

from propolis.terms.errors import Unsupported


def supported() -> None:
    """Raise Unsupported, with the way out, where this release cannot lend a computer."""
    if sys.platform != "linux":
        raise Unsupported(
            f"this release lends computers that run Linux, and this one runs {sys.platform}. "
            "Run the node inside Linux here (a virtual machine, or WSL 2), or use this computer as an owner: propolis join"
        )
