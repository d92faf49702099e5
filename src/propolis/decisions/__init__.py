"""Pure functions: who may run what, what follows from what is proven, where tasks go."""
