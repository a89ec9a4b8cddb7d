"""Agents and the host that runs them: base, context, host, isolation, skills."""
