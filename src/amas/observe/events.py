"""The names of log events: what a machine searches for. A message may be reworded, a name may not."""

from typing import Final

HOST_STARTED: Final = "host_started"
HOST_DRAINING: Final = "host_draining"
HOST_LEFT: Final = "host_left"
HOST_STALLED: Final = "host_stalled"
LEASE_LOST: Final = "lease_lost"
ENGINE_TROUBLE: Final = "engine_trouble"
ENGINE_BACK: Final = "engine_back"
CLAIM_LOST: Final = "claim_lost"
"""Tasks that the engine believed to be here but weren't; they were given back."""
OUTCOME_REFUSED: Final = "outcome_refused"
ATTEMPT_FAILED: Final = "attempt_failed"
ATTEMPT_STOPPED: Final = "attempt_stopped"
AGENT_UNHEALTHY: Final = "agent_unhealthy"
AGENT_HEALTHY: Final = "agent_healthy"
