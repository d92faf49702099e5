"""Attestation (RFC 9334): a node shows evidence, a verifier concludes; what is concluded holds for a lease."""
