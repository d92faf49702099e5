"""The small program inside the sandbox; the fewest imports of the house."""
