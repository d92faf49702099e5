"""Executors: ways to run a guest on this machine."""
