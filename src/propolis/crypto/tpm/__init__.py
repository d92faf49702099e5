"""TPM 2.0 as bytes: structures, names, policies, sessions' cryptography. Pure; adapters/tpm talks to a chip."""
