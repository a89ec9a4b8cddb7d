"""Names of events and metrics, and logging."""
