"""What the house asks of the world, as protocols that adapters fulfil."""
