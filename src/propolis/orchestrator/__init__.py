"""Assembly of an orchestrator: the only place that picks its adapters."""
