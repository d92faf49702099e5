"""Recipes over the cryptography package: identity, sealing, granting. Chance is an argument wherever the library allows."""
