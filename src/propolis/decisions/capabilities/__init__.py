"""From a recording of a machine to what is found on it: pure parsers, one file per subject (docs/specs/capabilities.md)."""
