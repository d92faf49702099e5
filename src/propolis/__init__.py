"""Propolis: run private AI jobs on other people's computers without having to trust those people."""

__version__ = "0.1.0"
