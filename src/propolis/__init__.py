"""Propolis: run private AI jobs on other people's computers without having to trust those people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from propolis.sdk.vault import Vault

__version__ = "0.1.0"
__all__ = ["Vault", "__version__"]


def __getattr__(name: str) -> object:
    """Give `propolis.Vault` at its first use: a guest imports this package, too, and needs nothing of it."""
    if name == "Vault":
        from propolis.sdk.vault import Vault

        return Vault
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
