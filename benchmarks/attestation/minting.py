"""The tests' mint: whole evidence of every technology under makers of our own."""

from fuzz.minting import mint, mint_tpm

__all__ = ["mint", "mint_tpm"]
