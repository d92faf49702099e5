"""Stores: durable rows, and a stand-in for tests and the simulator."""
