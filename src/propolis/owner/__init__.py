"""An owner put together: the session of one home, its chest, and how several processes share it."""
