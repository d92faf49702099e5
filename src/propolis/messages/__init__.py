"""The typed wire schema, and the codec: the only door for bytes."""
