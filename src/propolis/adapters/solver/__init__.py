"""Solvers of the placement problem."""
