"""Verification and appraisal of evidence, a file per technology; `registry` lists them (docs/specs/evidence.md)."""
