"""Wires: iroh (QUIC dialled by key), WebSocket to the orchestrator, and an in-memory stand-in."""
