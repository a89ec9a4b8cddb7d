"""The control plane's REST API, live events, probes and metrics."""
