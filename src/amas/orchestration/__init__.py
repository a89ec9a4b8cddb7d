"""Goals to results: playbooks, planner, the executive and management agents, quality gates."""
