"""Contract suites every adapter of a port must pass, stand-ins included; shipped for others' adapters."""
