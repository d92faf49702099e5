"""The jobs family: submitter (owner), dispatcher (orchestrator), worker (node). docs/specs/job.md numbers the steps."""
