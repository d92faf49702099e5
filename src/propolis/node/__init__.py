"""Assembly of a node: the only place that picks a node's adapters."""
