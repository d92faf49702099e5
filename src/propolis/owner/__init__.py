"""An owner put together: the session of one home, its vault, and how several processes share it."""
