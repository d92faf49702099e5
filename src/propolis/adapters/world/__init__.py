"""The operating system as clock and as source of chance."""
