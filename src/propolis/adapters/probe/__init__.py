"""Probes: what this machine shows, recorded. One file per system, one for what carries a plan out, one for replaying."""
