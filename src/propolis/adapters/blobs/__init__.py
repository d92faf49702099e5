"""Sealed blobs at rest."""
