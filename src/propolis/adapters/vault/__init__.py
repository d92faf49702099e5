"""Where a vault's files lie, and stand-ins for tests."""
