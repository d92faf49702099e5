"""The vault at work, over a folder and a chip that are handed in (docs/specs/vault.md)."""
