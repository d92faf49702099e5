"""Everything that touches the world: a family per port, a file per technology."""
