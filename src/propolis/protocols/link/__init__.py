"""The link family: in-order delivery, liveness and sessions with each peer (docs/specs/link.md)."""
