"""The vault's formats and keys, pure: chance is handed in, bytes come out (docs/specs/vault.md)."""
