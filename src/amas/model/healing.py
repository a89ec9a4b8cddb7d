"""What a fleet does about agents that crash or stand still, and what it remembers of it.

Declared for each pool (`HealingSpec`); decided by `core/healing.py`; a `Quarantine` stands in the desired state, so that it
outlives the host that wrote it; a `Recovery` is one line of what `amas recoveries` lists.
"""

from typing import Literal, NamedTuple

import msgspec

POISONED = 3
"""Sound agents that a task must have crashed before it counts as poison: two may be bad luck, and each costs an agent's work."""
POISON = "poison"
"""The code of a failure that says so."""
STUCK = "stuck"
"""The code of an attempt that was stopped because it made no progress."""

BY_HOST = "host "
"""What a quarantine's `by` begins with, before the host's id, where crashes led to it."""

CRASHES = frozenset({"process_crashed", "agent_exited", STUCK})
"""Codes of failures that count against an agent, unless its task proves to be poison. What an agent's code raises is none."""

Cause = Literal["host_lost", "agent_crashed", "agent_stuck", "engine_away", "leader_lost"]
CAUSES: tuple[Cause, ...] = ("host_lost", "agent_crashed", "agent_stuck", "engine_away", "leader_lost")
"""What a recovery recovered from; the labels of `orchestration_failure_recovery_duration`."""


class HealingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a pool is with its agents."""

    stuck_after_s: float | None = None
    """Seconds without progress after which an attempt is stopped; 0: never. None: 300, or half of its time if that is more."""
    crashes: int = 3
    """Crashes within the window after which an agent is quarantined."""
    window_s: float = 600.0
    backoff_s: float = 1.0
    """Seconds without tasks after the first crash; twice as long after each further one."""
    backoff_max_s: float = 60.0
    quarantine_s: float = 900.0
    """Seconds until a quarantined agent is tried again; 0: only a person or a new version lets it go."""
    check_every_s: float = 60.0
    """Between two looks whether an agent that has a health check of its own can work."""


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that gets no tasks."""

    by: str
    """The person, the run-book, or `host <id>`."""
    why: str
    at_ms: int
    until_ms: int = 0
    """By the engine's clock; 0: until somebody lifts it."""
    version: str = ""
    """Of the pool that crashed: another one is let go at once. Empty: whatever the version."""

    @property
    def crashed(self) -> bool:
        """Whether its host put it there because it crashed again and again."""
        return self.by.startswith(BY_HOST)


class Crash(msgspec.Struct, frozen=True, array_like=True):
    """What a failed attempt says of a crash, for the engine to judge the task by."""

    agent_id: str
    suspects: tuple[str, ...] = ()
    """What else has crashed the agent since it last did well; unless these are poison, it isn't sound, and so no witness."""
    lost_ms: int = 0
    """Of a stuck attempt: for how long nothing had come of it when it was stopped."""
    others: bool = False
    """Whether its pool has other agents, which the task should rather go to."""
    code: str = ""
    """The failure's, one of `CRASHES`."""


class Recovery(NamedTuple):
    """Something failed, and the work went on."""

    at_ms: int
    """When it went on."""
    cause: Cause
    subject: str
    """The host, agent, engine or control plane that failed."""
    duration_ms: int
    """From the failure until then."""
    tasks: int = 0
    """That were held up by it."""
