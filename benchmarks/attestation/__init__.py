"""How fast evidence is verified, beside Keylime on the same quotes in one run (`make bench-attestation`)."""
