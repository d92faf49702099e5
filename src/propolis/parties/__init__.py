"""A party is its machines wired together, still pure. Nodes and the simulator run the same ones."""
