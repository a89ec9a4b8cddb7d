"""A fleet as its YAML file writes it: what people may leave out, and times with their unit. `load.py` makes a `FleetSpec` of it.

Times are `90`, `90s`, `10m`, `24h` or `1.5d`; a plain number is seconds.
"""

import re
from typing import Any

import msgspec

from amas.model.alerts import Severity
from amas.model.fleet import Isolation
from amas.model.gate import GateSpec
from amas.model.limits import Amounts
from amas.model.routing import RoutingWeights
from amas.model.states import Layer

Time = float | str

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class DeclaredRetry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how soon a failed task is tried again."""

    retries: int | None = None
    """Not said: ORCHESTRATION_RETRY_ATTEMPTS."""
    backoff: Time = 1.0
    backoff_max: Time = 60.0
    jitter: float = 0.5


class DeclaredProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of `isolation: process` may take."""

    memory_mb: int = 2048
    cpu: Time = 0.0


class DeclaredPool(msgspec.Struct, frozen=True, kw_only=True):
    """One pool."""

    name: str
    capabilities: tuple[str, ...] = ()
    """Where it has `skills`, those of its skills."""
    agent: str = ""
    model_agent: str = ""
    """The path of a model agent's spec, from the fleet file's folder, in place of `agent`."""
    skills: dict[str, str] = msgspec.field(default_factory=dict)
    """By capability, the `module:attribute` of the agent that does it, in place of `agent`: one agent of many trades."""
    title: str = ""
    layer: Layer = Layer.SPECIALIST
    lead: str = ""
    replicas: int = 1
    tasks_per_agent: int = 1
    isolation: Isolation = "shared"
    limits: DeclaredProcessLimits = DeclaredProcessLimits()
    timeout: Time = 600.0
    retry: DeclaredRetry = DeclaredRetry()
    max_queued: int | None = None
    version: str | int | float = "1"
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    provider: str = ""
    estimate: Amounts | None = None
    budget: Amounts | None = None
    rights: tuple[str, ...] = ()
    """Added to its layer's; with a `-` before it, taken away."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class DeclaredLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of A11 that this fleet sets for itself; what isn't said is the environment's."""

    max_agents_per_pool: int | None = None
    max_tasks_per_agent: int | None = None
    max_total_agents: int | None = None
    max_workflows: int | None = None
    max_subtasks: int | None = None
    max_queued: int | None = None
    decomposition_timeout: Time | None = None
    workflow_timeout: Time | None = None
    quality_threshold: float | None = None
    quality_rounds: int = 2
    replans_max: int = 1


class DeclaredTenant(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant gets."""

    weight: float = 1.0
    budget: Amounts | None = None


class DeclaredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """What an account with a provider allows; what isn't said is not limited."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None


class DeclaredRouting(msgspec.Struct, frozen=True, kw_only=True):
    """How tasks are shared among pools that can do the same."""

    enabled: bool = True
    explore: float = 0.05
    half_life: Time = "30m"
    weights: RoutingWeights = RoutingWeights()


class DeclaredRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for alerts."""

    name: str
    when: str
    severity: Severity = "warning"
    hold: Time = msgspec.field(name="for", default=0.0)
    clear: Time = 30.0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    runbook: str = ""
    summary: str = ""


class DeclaredWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of alerts."""

    name: str
    url: str
    severities: tuple[Severity, ...] = ("critical", "warning", "info")
    link_local: bool = False


class DeclaredAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """The part `alerts` of a fleet file."""

    defaults: bool = True
    """Whether the rules that every fleet has are its too."""
    off: tuple[str, ...] = ()
    """Of those, the ones that it doesn't want."""
    rules: tuple[DeclaredRule, ...] = ()
    """Its own; one with the name of a default takes its place."""
    webhooks: tuple[DeclaredWebhook, ...] = ()


class DeclaredFleet(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    name: str
    pools: tuple[DeclaredPool, ...]
    title: str = ""
    limits: DeclaredLimits = DeclaredLimits()
    playbooks: tuple[str, ...] = ()
    hosts: int = 1
    providers: dict[str, DeclaredProvider] = msgspec.field(default_factory=dict)
    tenants: dict[str, DeclaredTenant] = msgspec.field(default_factory=dict)
    authority: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """By layer, as a pool's `rights`: added to what the layer may do, or taken away."""
    gate: GateSpec = GateSpec()
    """How its gates judge, where no playbook, phase or task says otherwise."""
    routing: DeclaredRouting = DeclaredRouting()
    alerts: DeclaredAlerts = DeclaredAlerts()
    runbooks: tuple[str, ...] = ()
    """Names of shipped run-books or paths; empty for all that ship with the product."""


def seconds(time: Time) -> float:
    """Return a time in seconds; ValueError says what it should look like."""
    if isinstance(time, str):
        match = _TIME.fullmatch(time.strip())
        if match is None:
            raise ValueError(f"{time!r} is no time: write 90s, 10m or 24h; a plain number is seconds")
        time = float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 <= time < float("inf"):
        raise ValueError(f"{time!r} is no time: it can't be less than 0 or without end")
    return time
